/// Status and Result of the whole project: Arrow's, with a kind that tells the caller what to do next.
///
/// Arrow's own codes say what happened, not what helps. A status made here carries an ErrorKind in its StatusDetail;
/// a status of Arrow or Parquet has none and counts as kInternal. Never match on message text.
#pragma once

#include <arrow/result.h>
#include <arrow/status.h>
#include <fmt/format.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

// fmt 9 leaves its whole engine to be generated again by every file that calls format_to() or join(): four seconds
// each.
#if FMT_VERSION < 100000
extern template void fmt::detail::vformat_to<char>(fmt::detail::buffer<char>&, fmt::basic_string_view<char>,
                                                   fmt::basic_format_args<fmt::buffer_context<char>>,
                                                   fmt::detail::locale_ref);
#endif

namespace millrace {

using arrow::Result;
using arrow::Status;

enum class ErrorKind {
  kTransient,       ///< Back off and retry; nothing has changed.
  kConflict,        ///< Someone else was first: reload, rebase, retry.
  kUnknownOutcome,  ///< The request may have taken effect: read back before anything else.
  kInvalidInput,    ///< The input is at fault: dead letter, HTTP 400, or a message to the user.
  kNotFound,        ///< The named thing does not exist.
  kTooLarge,        ///< Beyond a limit that the message names: ask for less.
  kUnsupported,     ///< Valid, but not something this version does; the message names it.
  kCorrupt,         ///< Stored bytes are not what they must be: stop and alert.
  kCancelled,       ///< Leave quietly.
  kInternal,        ///< Anything else: a defect or an unforeseen failure of a library.
};

std::string_view ToString(ErrorKind kind);

/// The kind of a failed status; kInternal if it was not made here. Must not be asked of an OK status.
ErrorKind KindOf(const Status& status);

Status MakeStatus(ErrorKind kind, std::string message);

/// The same status with "context: " before its message; kind and detail are kept. OK stays OK.
Status WithContextMessage(const Status& status, std::string_view context);

#define MILLRACE_DEFINE_STATUS_MAKER(Name)                                                   \
  template <typename... Args>                                                                \
  Status Name(fmt::format_string<Args...> format, Args&&... args) {                          \
    return MakeStatus(ErrorKind::k##Name, fmt::format(format, std::forward<Args>(args)...)); \
  }
MILLRACE_DEFINE_STATUS_MAKER(Transient)
MILLRACE_DEFINE_STATUS_MAKER(Conflict)
MILLRACE_DEFINE_STATUS_MAKER(UnknownOutcome)
MILLRACE_DEFINE_STATUS_MAKER(InvalidInput)
MILLRACE_DEFINE_STATUS_MAKER(NotFound)
MILLRACE_DEFINE_STATUS_MAKER(TooLarge)
MILLRACE_DEFINE_STATUS_MAKER(Unsupported)
MILLRACE_DEFINE_STATUS_MAKER(Corrupt)
MILLRACE_DEFINE_STATUS_MAKER(Cancelled)
MILLRACE_DEFINE_STATUS_MAKER(Internal)
#undef MILLRACE_DEFINE_STATUS_MAKER

template <typename... Args>
Status WithContext(const Status& status, fmt::format_string<Args...> format, Args&&... args) {
  return status.ok() ? status : WithContextMessage(status, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace millrace

#define MILLRACE_CONCAT_INNER(a, b) a##b
#define MILLRACE_CONCAT(a, b) MILLRACE_CONCAT_INNER(a, b)

/// For plain functions, beside Arrow's RETURN_NOT_OK(expr). `lhs` may declare. Use inside braces.
#define ASSIGN_OR_RETURN(lhs, expr) ARROW_ASSIGN_OR_RAISE(lhs, expr)

/// For coroutines, which may not contain `return`. The result is held by value in a named local.
#define CO_RETURN_NOT_OK(expr) CO_RETURN_NOT_OK_IMPL(MILLRACE_CONCAT(co_status_, __COUNTER__), expr)
#define CO_RETURN_NOT_OK_IMPL(name, expr)         \
  ::arrow::Status name = ::arrow::ToStatus(expr); \
  if (!name.ok()) co_return name

#define CO_ASSIGN_OR_RETURN(lhs, expr) CO_ASSIGN_OR_RETURN_IMPL(MILLRACE_CONCAT(co_result_, __COUNTER__), lhs, expr)
#define CO_ASSIGN_OR_RETURN_IMPL(name, lhs, expr) \
  auto name = (expr);                             \
  if (!name.ok()) co_return name.status();        \
  lhs = std::move(name).ValueUnsafe()

/// A broken assumption that would write wrong data if we went on: abort, in release too.
#define MILLRACE_CHECK(condition, ...)                                                      \
  do {                                                                                      \
    if (!(condition)) [[unlikely]]                                                          \
      ::millrace::CheckFailed(__FILE__, __LINE__, #condition, fmt::format("" __VA_ARGS__)); \
  } while (false)

#ifdef NDEBUG
#define MILLRACE_DCHECK(condition, ...) static_cast<void>(0)
#else
#define MILLRACE_DCHECK(condition, ...) MILLRACE_CHECK(condition, __VA_ARGS__)
#endif

namespace millrace {
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition, const std::string& message);
}
