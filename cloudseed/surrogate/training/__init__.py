"""How encoders are made: token shards, targets that follow from a string, training, fine-tuning.

    SCOPE strings and crystals -> shards.prepare -> TokenShards -> stream -> Batch
    Batch -> Learner (encoder and heads) -> losses -> trainer.train -> a checkpoint

`pretrain` and `finetune` are the two ways through it. Nothing here is needed to use an encoder.
"""
