/// The rows of a PostgreSQL query. libpq stays in postgres_rows.cc.
///
/// The query runs in a transaction that may only read, with times in UTC, and comes row by row. A version is a digest
/// of the rows as they came.
///
/// | PostgreSQL | column |
/// |---|---|
/// | boolean, smallint, integer, bigint, real, double precision, date | the same |
/// | numeric(p,s), p up to 38 | decimal |
/// | text, varchar, char, name, uuid, json, jsonb | text |
/// | timestamptz, timestamp | timestamp in UTC, timestamp without time zone; microseconds |
/// | bytea | binary |
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "lookup/source.h"

namespace millrace::lookup {

/// Connects when it is asked for something, and anew each time. `connection`: libpq's, "host=… dbname=…" or
/// "postgresql://…"; what it leaves out comes from the environment and ~/.pgpass.
///
/// Errors: kTransient (no connection, or it broke), kInvalidInput (the query; a column of another type, which the
/// message says how to cast; a value that no column can hold: infinity, a year beyond 9999), kTooLarge, kCancelled.
std::unique_ptr<RowReader> MakePostgresRows(std::string connection, std::string query);

}  // namespace millrace::lookup
