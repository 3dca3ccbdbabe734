/// Errors as PostgreSQL's clients are told them.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace millrace::postgres {

/// Codes of PostgreSQL's "Error Codes" that are said here.
namespace sql_state {
inline constexpr std::string_view kWarning = "01000";
inline constexpr std::string_view kProtocolViolation = "08P01";
inline constexpr std::string_view kFeatureNotSupported = "0A000";
inline constexpr std::string_view kInvalidTextRepresentation = "22P02";
inline constexpr std::string_view kInvalidBinaryRepresentation = "22P03";
inline constexpr std::string_view kInvalidParameterValue = "22023";
inline constexpr std::string_view kNumericValueOutOfRange = "22003";
inline constexpr std::string_view kInvalidCursorState = "24000";
inline constexpr std::string_view kNoActiveTransaction = "25P01";
inline constexpr std::string_view kActiveTransaction = "25001";
inline constexpr std::string_view kReadOnlyTransaction = "25006";
inline constexpr std::string_view kInFailedTransaction = "25P02";
inline constexpr std::string_view kUnknownStatement = "26000";
inline constexpr std::string_view kInvalidAuthorization = "28000";
inline constexpr std::string_view kInvalidPassword = "28P01";
inline constexpr std::string_view kUnknownCursor = "34000";
inline constexpr std::string_view kUnknownDatabase = "3D000";
inline constexpr std::string_view kSyntaxOrAccess = "42000";
inline constexpr std::string_view kSyntax = "42601";
inline constexpr std::string_view kInsufficientPrivilege = "42501";
inline constexpr std::string_view kUndefinedObject = "42704";
inline constexpr std::string_view kUndefinedTable = "42P01";
inline constexpr std::string_view kUndefinedColumn = "42703";
inline constexpr std::string_view kDuplicateCursor = "42P03";
inline constexpr std::string_view kDuplicateStatement = "42P05";
inline constexpr std::string_view kOutOfMemory = "53200";
inline constexpr std::string_view kTooManyConnections = "53300";
inline constexpr std::string_view kLimitExceeded = "53400";
inline constexpr std::string_view kProgramLimitExceeded = "54000";
inline constexpr std::string_view kQueryCanceled = "57014";
inline constexpr std::string_view kAdminShutdown = "57P01";
inline constexpr std::string_view kCannotConnectNow = "57P03";
inline constexpr std::string_view kIdleSessionTimeout = "57P05";
inline constexpr std::string_view kInternal = "XX000";
}  // namespace sql_state

struct SqlError {
  std::string_view code;  ///< One of sql_state.
  std::string message;
  std::string hint{};
  int position = 0;  ///< In the statement, in characters from 1; 0: not known.
};

/// An error of the engine about `sql`, in which the place that its message ends with is looked up.
SqlError ErrorOf(const Status& status, std::string_view sql);

}  // namespace millrace::postgres
