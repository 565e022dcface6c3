"""Bytes to commands and events and back: JSON, checked against the types, older versions lifted on the way in."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar, get_args

import msgspec

T = TypeVar("T", bound=msgspec.Struct)

#: What msgspec raises at bytes that it can't read: text that isn't UTF-8 and endless nesting have errors of their own.
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

#: Turns the fields of one version of a type into those of the next. Pure; may change and return its argument.
Lift = Callable[[dict[str, Any]], dict[str, Any]]


class CodecError(ValueError):
    """A record that is no command or event of ours; the text says why."""


class Codec(Generic[T]):
    """Encodes and decodes one family of tagged types.

    `types` is a union of Structs with a `type` tag and a version field `v`, whose default is the version that is
    written now. `lifts` maps (tag, version) to the step that makes version + 1 of it; a reader of version N needs
    the step from N-1.
    """

    def __init__(self, types: Any, lifts: Mapping[tuple[str, int], Lift] | None = None) -> None:
        members: tuple[type[T], ...] = get_args(types) or (types,)
        self._current = {_tag(member): _version(member) for member in members}
        self._versions = {member: _version(member) for member in members}
        self._lifts = dict(lifts or {})
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(types)
        self._types = types
        self._encoder = msgspec.json.Encoder()

    def encode(self, value: T) -> bytes:
        """The value as one line of JSON."""
        return self._encoder.encode(value)

    def decode(self, data: bytes | None) -> T:
        """The value in `data`; CodecError when it isn't one, or is of a version newer than this reader."""
        if data is None:
            raise CodecError("the record has no value")
        try:
            value = self._decoder.decode(data)
        except msgspec.ValidationError as exc:
            return self._decode_older(data, exc)
        except NOT_JSON as exc:
            raise CodecError(f"not JSON: {exc}") from exc
        if value.v == self._versions[type(value)]:  # type: ignore[attr-defined]  # each has `v`: see _version
            return value
        return self._decode_older(data, None)

    def decode_all(self, data: Sequence[bytes | None]) -> list[T]:
        """The value of each, in order; CodecError when there is one that can't be decoded, without saying which."""
        decode, versions = self._decoder.decode, self._versions
        try:
            values = [decode(each) for each in data]  # type: ignore[arg-type]  # None is a TypeError
        except (*NOT_JSON, TypeError):
            return [self.decode(each) for each in data]
        if all(value.v == versions[type(value)] for value in values):  # type: ignore[attr-defined]  # as above
            return values
        return [self.decode(each) for each in data]

    def _decode_older(self, data: bytes, cause: msgspec.ValidationError | None) -> T:
        try:
            fields = msgspec.json.decode(data)
        except NOT_JSON as exc:  # a wrong type comes to light before the broken JSON behind it
            raise CodecError(f"not JSON: {exc}") from exc
        if not isinstance(fields, dict):
            raise CodecError("not a JSON object")
        tag, version = fields.get("type"), fields.get("v", 1)
        current = self._current.get(tag) if isinstance(tag, str) else None
        if current is None:
            raise CodecError(f"unknown type {tag!r}")
        if not isinstance(version, int) or version > current:
            raise CodecError(f"{tag} of version {version!r}: this reader knows up to {current}")
        if version == current:
            raise CodecError(f"{tag}: {cause}") from cause
        while version < current:
            lift = self._lifts.get((str(tag), version))
            if lift is None:
                raise CodecError(f"{tag} of version {version} is too old: this reader knows no way to {version + 1}")
            try:
                fields = lift(fields)
            except (LookupError, TypeError, ValueError, AttributeError) as exc:
                raise CodecError(f"{tag} of version {version} can't be lifted: {exc!r}") from exc
            version += 1
            fields["v"] = version
        try:
            return msgspec.convert(fields, self._types)  # type: ignore[no-any-return]  # `types` is a runtime union
        except msgspec.ValidationError as exc:
            raise CodecError(f"{tag}: {exc}") from exc


def _tag(member: type[msgspec.Struct]) -> str:
    tag = member.__struct_config__.tag
    if not isinstance(tag, str):
        raise TypeError(f"{member.__name__} has no tag")
    return tag


def _version(member: type[msgspec.Struct]) -> int:
    for field in msgspec.structs.fields(member):
        if field.name == "v" and isinstance(field.default, int):
            return field.default
    raise TypeError(f"{member.__name__} has no version field `v`")
