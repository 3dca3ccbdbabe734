#include "base/status.h"

#include <cstdio>
#include <cstdlib>

#if FMT_VERSION < 100000
template void fmt::detail::vformat_to<char>(fmt::detail::buffer<char>&, fmt::basic_string_view<char>,
                                            fmt::basic_format_args<fmt::buffer_context<char>>, fmt::detail::locale_ref);
#endif

namespace millrace {
namespace {

constexpr const char* kDetailType = "millrace::ErrorKind";

class KindDetail : public arrow::StatusDetail {
 public:
  explicit KindDetail(ErrorKind kind) : kind_(kind) {}
  const char* type_id() const override { return kDetailType; }
  std::string ToString() const override { return std::string(millrace::ToString(kind_)); }
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

arrow::StatusCode CodeOf(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kTransient:
    case ErrorKind::kUnknownOutcome:
      return arrow::StatusCode::IOError;
    case ErrorKind::kConflict:
      return arrow::StatusCode::AlreadyExists;
    case ErrorKind::kInvalidInput:
    case ErrorKind::kCorrupt:
      return arrow::StatusCode::Invalid;
    case ErrorKind::kNotFound:
      return arrow::StatusCode::KeyError;
    case ErrorKind::kTooLarge:
      return arrow::StatusCode::CapacityError;
    case ErrorKind::kUnsupported:
      return arrow::StatusCode::NotImplemented;
    case ErrorKind::kCancelled:
      return arrow::StatusCode::Cancelled;
    case ErrorKind::kInternal:
      return arrow::StatusCode::UnknownError;
  }
  return arrow::StatusCode::UnknownError;
}

}  // namespace

std::string_view ToString(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kTransient:
      return "transient";
    case ErrorKind::kConflict:
      return "conflict";
    case ErrorKind::kUnknownOutcome:
      return "unknown outcome";
    case ErrorKind::kInvalidInput:
      return "invalid input";
    case ErrorKind::kNotFound:
      return "not found";
    case ErrorKind::kTooLarge:
      return "too large";
    case ErrorKind::kUnsupported:
      return "unsupported";
    case ErrorKind::kCorrupt:
      return "corrupt";
    case ErrorKind::kCancelled:
      return "cancelled";
    case ErrorKind::kInternal:
      return "internal";
  }
  return "internal";
}

ErrorKind KindOf(const Status& status) {
  MILLRACE_DCHECK(!status.ok());
  const auto& detail = status.detail();
  if (detail != nullptr && std::string_view(detail->type_id()) == kDetailType) {
    return static_cast<const KindDetail&>(*detail).kind();
  }
  return ErrorKind::kInternal;
}

Status MakeStatus(ErrorKind kind, std::string message) {
  return Status(CodeOf(kind), std::move(message), std::make_shared<KindDetail>(kind));
}

Status WithContextMessage(const Status& status, std::string_view context) {
  return status.WithMessage(context, ": ", status.message());
}

void CheckFailed(const char* file, int line, const char* condition, const std::string& message) {
  std::fprintf(stderr, "%s:%d: check failed: %s%s%s\n", file, line, condition, message.empty() ? "" : ": ",
               message.c_str());
  std::fflush(stderr);
  std::abort();
}

}  // namespace millrace
