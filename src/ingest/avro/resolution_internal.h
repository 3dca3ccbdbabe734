/// Values of one schema read as another's (specification 1.12, "Schema Resolution").
#pragma once

#include <string>

#include "base/status.h"
#include "ingest/avro/schema.h"

namespace millrace::ingest::avro {

/// Whether the reader's name, or one of its aliases, is the writer's; of names with dots the last parts count.
bool HasSameName(const Schema& writer, const Schema& reader);

/// The one that a value of `writer`, which is no union, is read as; nullptr: it is not. Of a union of the reader's the
/// first of the same type, else the first that it can be promoted to. Looks no deeper than their own types.
const Schema* ReaderFor(const Schema& writer, const Schema& reader);

/// `writer`, whose values AppendJson() then writes as `reader` has them, however deep: fields by the reader's names,
/// without those that it has not, with its defaults for those that are missing; symbols of enums that it has, or its
/// default symbol. What a value is, its unit or its scale, is as the writer says, or as the reader says if the writer
/// does not. A branch or a symbol that the reader cannot take fails where a record has it. Numbers are written as they
/// are: an int that is read as a double has no point. Names of types choose among branches, and are not asked for where
/// there is no choice: what a file was written with is often called as its program calls it.
/// kInvalidInput, with `path` and what is behind it: the reader can take no value of the writer's.
Result<SchemaPtr> Resolved(const SchemaPtr& writer, const SchemaPtr& reader, const std::string& path = "");

}  // namespace millrace::ingest::avro
