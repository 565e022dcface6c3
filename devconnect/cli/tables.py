"""`tables`: the analytics tables as their changelogs hold them, read on the machine itself, whoever else is down."""

import asyncio

import click
import msgspec
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table as Grid

from devconnect import stack
from devconnect.cli.errors import CliError
from devconnect.domain import analytics
from devconnect.domain.analytics import Row, Table
from devconnect.events.topics import changelog
from devconnect.settings import Settings
from faust_batch.batch import Record
from faust_batch.changelog import read_to_end


@click.group()
def tables() -> None:
    """Read the analytics tables that the fleet keeps."""


@tables.command("list")
def list_tables() -> None:
    """Name the tables, their keys and columns."""
    for table in analytics.TABLES.values():
        click.echo(f"{table.name}: {table.key} -> {', '.join(table.columns)}")


@tables.command()
@click.argument("name", type=click.Choice(list(analytics.TABLES)))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def show(name: str, as_json: bool) -> None:
    """Show the table NAME, whole and exact, as of now."""
    settings = Settings.load()
    table = analytics.TABLES[name]
    try:
        rows = asyncio.run(read_table(stack.addresses(settings).kafka, settings.partitions, table))
    except stack.StackError as error:
        raise CliError(str(error)) from None
    except analytics.RowVersionError as error:
        raise CliError(f"{error}: read it with the version that wrote it") from None
    except KafkaError as error:
        raise CliError(
            f"Kafka can't be read ({type(error).__name__}): `python -m devconnect status` says more"
        ) from None
    if as_json:
        click.echo(msgspec.json.encode({"table": name, "key": table.key, "items": rows}))
    else:
        Console().print(_grid(table, rows))


async def read_table(bootstrap: str, partitions: int, table: Table) -> list[dict[str, str | int]]:
    """The rows of the table's view, merged from the changelog of every partition."""
    kept: dict[tuple[int, str], Row] = {}
    bad = 0
    async for chunk in read_to_end(bootstrap, changelog(table.name).name, dict.fromkeys(range(partitions), 0)):
        for record in chunk.records:
            if record.key is None:
                continue
            try:
                _take(kept, chunk.partition, record)
            except ValueError:
                bad += 1
    if bad:
        click.echo(f"{bad} records of {changelog(table.name).name} are no rows: left out, see dead-letters", err=True)
    view = analytics.merge(table, ((key, row.values) for (_, key), row in kept.items()))
    return analytics.present(table, view)


def _take(kept: dict[tuple[int, str], Row], partition: int, record: Record) -> None:
    place = partition, (record.key or b"").decode()
    if record.value is None:
        kept.pop(place, None)
    else:
        kept[place] = analytics.newer(kept.get(place), analytics.decode_row(record.value))


def _grid(table: Table, rows: list[dict[str, str | int]]) -> Grid:
    grid = Grid(table.key, *table.columns)
    for row in rows:
        grid.add_row(*(str(value) for value in row.values()))
    return grid
