/// Values that clients send for the parameters of a statement, as the engine takes them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "postgres/message.h"
#include "sql/sql_session.h"

namespace millrace::postgres {

/// A value, and the DuckDB type that it is cast to in the statement; empty: it stands as it is, and takes the type of
/// what is beside it.
struct ParameterValue {
  sql::Parameter parameter;
  std::string cast{};
};

/// `type`: what the client, or the statement, says that it is; 0: nobody said. kInvalidInput: not of the form that the
/// type has. kUnsupported: a type whose binary form is not known here.
Result<ParameterValue> ReadParameter(std::string name, std::uint32_t type, Format format, std::string_view bytes);

}  // namespace millrace::postgres
