"""The exception tree: one root, hints, data, exit codes."""

import inspect
import pickle

import pytest

from cloudseed import errors
from cloudseed.errors import CloudseedError, InputError, StructureError, UsageError

KINDS = [getattr(errors, name) for name in errors.__all__]


def test_every_public_name_is_in_the_drawing_and_the_other_way():
    drawn = {word for word in (errors.__doc__ or "").split() if word.endswith("Error")}
    defined = {
        name for name, kind in vars(errors).items() if inspect.isclass(kind) and name in drawn
    }
    assert set(errors.__all__) == drawn == defined
    assert errors.__all__ == sorted(errors.__all__)


@pytest.mark.parametrize("kind", KINDS)
def test_message_hint_and_data_survive_a_process_boundary(kind):
    error = kind("It broke.", hint="Mend it.", path="a.cif", rows=[1, 2])
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (str(copy), copy.hint, copy.data) == ("It broke.", "Mend it.", error.data)
    assert isinstance(error, CloudseedError)


@pytest.mark.parametrize("kind", KINDS)
def test_exit_codes(kind):
    assert kind("x").exit_code == (2 if issubclass(kind, UsageError) else 1)


def test_a_structure_error_is_an_input_error():
    assert issubclass(StructureError, InputError)
    assert issubclass(InputError, UsageError)
