/// The dead letters of a table as a stream, so that millions of them cost no memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "delta/data/predicate.h"
#include "delta/table.h"
#include "model/event_batch.h"

namespace millrace::pipeline {

/// The column of the dead-letter table that says which replay wrote a letter, int64; null: it was written as the log
/// was read. A table gets it when a record first fails again.
inline constexpr const char* kReplayColumn = "replay";

/// The column that says which document of its record a letter is of, int32; null: of the whole record. Tables that an
/// older version has made get it when they are next opened to be written.
inline constexpr const char* kLetterIndexColumn = "index";

struct StoredLetter {
  model::DeadLetter letter;
  std::int64_t replay = 0;  ///< 0: as the log was read.
};

struct LetterQuery {
  std::string where{};            ///< DuckDB's expression over the table's columns; empty: all.
  delta::Conjunction and_also{};  ///< Besides.
  bool with_bytes = true;         ///< false: key, payload, headers and detail stay empty, and are not read.
};

/// Those of table.snapshot(). `visit` may fail, which ends it. Blocks. kInvalidInput: `where`, with DuckDB's message;
/// other errors as delta::OpenScan().
Status VisitLetters(const delta::Table& table, const LetterQuery& query,
                    const std::function<Status(StoredLetter)>& visit);

/// What every letter that satisfies `where` satisfies in its topic, partition and offset. kInvalidInput as above.
Result<delta::Conjunction> PlacesOf(const std::string& where, const delta::Table& table);

}  // namespace millrace::pipeline
