/// Time zones as DuckDB knows them: its ICU carries the data of the tz database, so that answers do not depend on what
/// the machine has installed, and are those of DuckDB's own functions.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "base/time_zone.h"
#include "sql/sql_session.h"

namespace millrace::sql {

/// The zone of that name, in any case: "Europe/Berlin", "UTC". Takes some tenths of a second, or nothing when the
/// process has asked for it before; any thread. Changes before 1840, of which there are none, are not looked for, and
/// two within a day that undo each other would not be seen.
/// kInvalidInput: there is no such zone; the nearest is named.
Result<std::shared_ptr<const TimeZone>> LoadTimeZone(SqlSession& session, const std::string& name);

}  // namespace millrace::sql
