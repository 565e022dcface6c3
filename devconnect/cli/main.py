"""The root command and the list of what there is; a command's module is imported when it is called."""

from collections.abc import Mapping
from importlib import import_module

import click

from devconnect import __version__
from devconnect.settings import SettingsError

#: command name -> (where it lives as "module:attribute", its line in the help).
COMMANDS: Mapping[str, tuple[str, str]] = {
    "up": ("devconnect.cli.stack:up", "Start the embedded Kafka, Redis and MongoDB."),
    "down": ("devconnect.cli.stack:down", "Stop the embedded parts."),
    "status": (
        "devconnect.cli.stack:status",
        "Show the parts: pid, port, memory, version, ready or not.",
    ),
    "run": ("devconnect.cli.run:run", "Run the stack, the workers and the gateway."),
    "topics": ("devconnect.cli.topics:topics", "Create and show the Kafka topics."),
    "tables": ("devconnect.cli.tables:tables", "Read the tables that the fleet keeps."),
    "dlq": ("devconnect.cli.dlq:dlq", "Look at dead letters, try them again, drop them."),
    "users": ("devconnect.cli.users:users", "Look after accounts and their roles."),
    "keys": ("devconnect.cli.keys:keys", "Show and change the keys of session tokens."),
    "replay": ("devconnect.cli.replay:replay", "Play a recorded interaction trace through the gateway."),
    "bench": ("devconnect.cli.bench:bench", "Measure the fleet against its peers, and its latency."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one only to run it or to show its help."""

    def __init__(self, *args: object, lazy: Mapping[str, tuple[str, str]], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # handed on as they came
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return None
        module, _, attribute = self._lazy[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}:{attribute} is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands from the table above, so that `--help` imports none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy.items()])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="devconnect")
def main() -> None:
    """DevConnect: developers find each other, connect and chat."""
