"""`topics`: create the Kafka topics of the registry, and show them."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table

from devconnect import stack
from devconnect.adapters.kafka.topics import TopicsError, TopicState, describe_topics, ensure_topics
from devconnect.cli.errors import CliError
from devconnect.settings import Settings

T = TypeVar("T")


@click.group()
def topics() -> None:
    """Create and show the Kafka topics."""


@topics.command()
def create() -> None:
    """Create the topics that are missing; leave the others alone."""
    settings = Settings.load()
    made = _run(ensure_topics(_bootstrap(settings), settings))
    click.echo(f"created {', '.join(made)}" if made else "every topic is there")


@topics.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def show(as_json: bool) -> None:
    """Show each topic: its partitions, key, writers and readers. Exit status 1 when one isn't as it must be."""
    settings = Settings.load()
    states = _run(describe_topics(_bootstrap(settings), settings))
    if as_json:
        click.echo(msgspec.json.encode([_row(state) for state in states]))
    else:
        Console().print(_table(states))
    if any(state.trouble for state in states):
        raise CliError("; ".join(state.trouble for state in states if state.trouble))


def _row(state: TopicState) -> dict[str, object]:
    topic = state.topic
    return {
        "topic": topic.name,
        "partitions": state.partitions,
        "key": topic.key,
        "written_by": topic.written_by,
        "read_by": topic.read_by,
        "config": dict(topic.config),
    }


def _table(states: list[TopicState]) -> Table:
    table = Table("topic", "partitions", "key", "written by", "read by")
    for state in states:
        topic = state.topic
        table.add_row(topic.name, str(state.partitions), topic.key, topic.written_by, topic.read_by)
    return table


def _bootstrap(settings: Settings) -> str:
    try:
        return stack.addresses(settings).kafka
    except stack.StackError as error:
        raise CliError(str(error)) from None


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except TopicsError as error:
        raise CliError(str(error)) from None
