/// The messages of PostgreSQL's protocol 3.0 as values: bytes of a client in, messages out, and the other way round.
/// Plain functions without sockets; integers are big-endian, texts end in a NUL.
///
/// Spec: PostgreSQL, "Frontend/Backend Protocol", "Message Formats".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/status.h"
#include "postgres/sql_state.h"

namespace millrace::postgres {

/// A message of a client that is longer is refused, and so is one before it is known who the client is beyond the
/// smaller number.
inline constexpr std::size_t kMessageBytesMax = 256 << 10;
inline constexpr std::size_t kEarlyMessageBytesMax = 10'000;

enum class Format : std::int16_t { kText = 0, kBinary = 1 };

/// What a connection begins with.
struct Startup {
  std::uint16_t minor_version = 0;                              ///< Of 3.x.
  std::vector<std::pair<std::string, std::string>> settings{};  ///< "user", "database", "options" and the like.
};
struct SslRequest {};
struct GssRequest {};
struct CancelRequest {
  std::uint32_t process = 0;
  std::uint32_t secret = 0;
};
using FirstMessage = std::variant<Startup, SslRequest, GssRequest, CancelRequest>;

struct Query {
  std::string sql;
};
struct Parse {
  std::string name;
  std::string sql;
  std::vector<std::uint32_t> parameter_types{};  ///< 0: not said.
};
struct Bind {
  std::string portal;
  std::string statement;
  std::vector<Format> parameter_formats{};
  std::vector<std::optional<std::string>> values{};  ///< nullopt: NULL.
  std::vector<Format> result_formats{};
};
/// Of Describe and Close.
enum class Target : char { kStatement = 'S', kPortal = 'P' };
struct Describe {
  Target target = Target::kStatement;
  std::string name;
};
struct Close {
  Target target = Target::kStatement;
  std::string name;
};
struct Execute {
  std::string portal;
  std::int32_t rows_max = 0;  ///< 0: all.
};
struct Flush {};
struct Sync {};
struct Terminate {};
/// CopyData, CopyDone and CopyFail: nothing is copied here, and what comes of a copy that was refused is passed over.
struct CopyPart {};
struct FunctionCall {};
/// An answer to a request for a password: what it holds depends on the request.
struct PasswordResponse {
  std::string content;
};
using Message = std::variant<Query, Parse, Bind, Describe, Close, Execute, Flush, Sync, Terminate, CopyPart,
                             FunctionCall, PasswordResponse>;

/// How many bytes a message has in all, its length and type with it, by its first ones; nullopt: too few to know.
/// kInvalidInput: a length that no message has; kTooLarge: beyond `bytes_max`.
Result<std::optional<std::size_t>> FirstMessageBytes(std::string_view bytes);
Result<std::optional<std::size_t>> MessageBytes(std::string_view bytes, std::size_t bytes_max);

/// Of exactly the bytes of one message. kInvalidInput: not of the form that its type has. kUnsupported: another major
/// version of the protocol.
Result<FirstMessage> ReadFirstMessage(std::string_view bytes);
Result<Message> ReadMessage(std::string_view bytes);

/// The first answer to SCRAM: the mechanism's name and the client's first message.
struct SaslInitial {
  std::string mechanism;
  std::string data;
};
Result<SaslInitial> ReadSaslInitial(std::string_view content);
/// A password in clear text, which ends in a NUL.
Result<std::string> ReadPassword(std::string_view content);

/// A column of a result.
struct ResultField {
  std::string name;
  std::uint32_t type = 0;
  std::int16_t type_bytes = -1;  ///< -1: any number.
  std::int32_t modifier = -1;
  Format format = Format::kText;
};

/// The state of the transaction, as ReadyForQuery has it.
enum class TransactionState : char { kNone = 'I', kOpen = 'T', kFailed = 'E' };

/// Writes messages of the server, one after the other.
class Replies {
 public:
  explicit Replies(std::string& out) : out_(out) {}

  void AuthenticationOk();
  void AuthenticationCleartextPassword();
  void AuthenticationSasl(const std::vector<std::string>& mechanisms);
  void AuthenticationSaslContinue(std::string_view data);
  void AuthenticationSaslFinal(std::string_view data);
  void BackendKeyData(std::uint32_t process, std::uint32_t secret);
  void NegotiateProtocolVersion(std::uint32_t newest_minor, const std::vector<std::string>& unknown_options);
  void ParameterStatus(std::string_view name, std::string_view value);
  void ReadyForQuery(TransactionState state);
  void RowDescription(const std::vector<ResultField>& fields);
  void ParameterDescription(const std::vector<std::uint32_t>& types);
  void NoData();
  void ParseComplete();
  void BindComplete();
  void CloseComplete();
  void PortalSuspended();
  void EmptyQueryResponse();
  void CommandComplete(std::string_view tag);
  void Error(const SqlError& error, bool is_fatal = false);
  /// `severity`: "WARNING" or "NOTICE".
  void Notice(std::string_view severity, const SqlError& notice);

  /// A row: BeginRow(), then for each column NullCell(), or BeginCell(), the value's bytes into out(), EndCell(); then
  /// EndRow().
  void BeginRow(std::int16_t num_columns);
  void NullCell();
  void BeginCell();
  void EndCell();
  void EndRow() { End(); }
  std::string& out() { return out_; }

 private:
  void Begin(char type);
  void End();
  void Fields(std::string_view severity, const SqlError& error);

  std::string& out_;
  std::size_t length_at_ = 0;
  std::size_t cell_at_ = 0;
};

/// Big-endian.
void AppendInt16(std::string& out, std::int16_t value);
void AppendInt32(std::string& out, std::int32_t value);
void AppendInt64(std::string& out, std::int64_t value);

/// Takes values off the front of bytes; what is not there any more reads as zero, and ok() is false from then on.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  std::uint8_t Byte() { return static_cast<std::uint8_t>(Unsigned(1)); }
  std::int16_t Int16() { return static_cast<std::int16_t>(Unsigned(2)); }
  std::int32_t Int32() { return static_cast<std::int32_t>(Unsigned(4)); }
  std::int64_t Int64() { return static_cast<std::int64_t>(Unsigned(8)); }
  std::string_view Bytes(std::size_t size);
  /// Up to a NUL, which is taken too.
  std::string_view Text();

  bool ok() const { return ok_; }
  /// Nothing is left, and nothing was missing.
  bool at_end() const { return ok_ && rest_.empty(); }
  std::size_t size() const { return rest_.size(); }

 private:
  std::uint64_t Unsigned(std::size_t size);

  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace millrace::postgres
