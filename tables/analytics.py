"""The analytics tables of a worker: one `BatchTable` for each table of the domain."""

from collections.abc import Callable

from devconnect.domain import analytics
from devconnect.domain.analytics import Row
from devconnect.events.topics import changelog
from faust_batch.table import BatchTable, Log, Restored, Unreadable


class RowCodec:
    """Rows as the domain writes them; of two versions the one that has counted more events is the newer."""

    def encode(self, row: Row) -> bytes:
        """The row as bytes."""
        return analytics.encode_row(row)

    def decode(self, data: bytes) -> Row:
        """The row in these bytes."""
        return analytics.decode_row(data)

    def order(self, data: bytes) -> int:
        """How many events a version has seen, as far as that tells two versions apart: its seq."""
        return analytics.seq_in(data)


def build(
    log_of: Callable[[str], Log],
    restored_of: Callable[[str], Restored],
    unreadable_of: Callable[[str], Unreadable],
    failed: Callable[[BaseException], None],
) -> dict[str, BatchTable[Row]]:
    """The tables by name. `log_of` opens a changelog topic; the others give each table's hooks: what was restored, what
    in the changelog is no row, and (for all) that a table can't be restored.
    """
    return {
        name: BatchTable(
            name,
            log_of(changelog(name).name),
            RowCodec(),
            restored_of(name),
            unreadable=unreadable_of(name),
            failed=failed,
        )
        for name in analytics.TABLES
    }
