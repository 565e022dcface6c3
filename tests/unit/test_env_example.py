""".env.example has every setting, each explained, with the default that it has when it is left out."""

from pathlib import Path

from devconnect.settings import VARIABLES, Settings, read_dotenv

FILE = Path(__file__).parents[2] / ".env.example"


def test_it_names_every_variable_and_no_other() -> None:
    assert set(read_dotenv(FILE)) == {variable.name for variable in VARIABLES}


def test_it_changes_nothing() -> None:
    assert Settings.load({}, dotenv=FILE) == Settings.load({})


def test_every_variable_is_explained() -> None:
    explained = False
    for line in FILE.read_text().splitlines():
        if not line:
            explained = False
        elif line.startswith("#"):
            explained = True
        else:
            assert explained, line
