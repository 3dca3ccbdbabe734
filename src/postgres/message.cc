#include "postgres/message.h"

#include <algorithm>

namespace millrace::postgres {
namespace {

constexpr std::uint32_t kSslCode = 80877103;
constexpr std::uint32_t kGssCode = 80877104;
constexpr std::uint32_t kCancelCode = 80877102;
constexpr std::size_t kSettingsMax = 100;

Status Malformed(const char* what) { return InvalidInput("the message {} is not of its form", what); }

std::uint32_t BigEndian(std::string_view bytes) {
  std::uint32_t value = 0;
  for (const char byte : bytes) value = (value << 8) | static_cast<unsigned char>(byte);
  return value;
}

// `before`: bytes before the length, which the length does not count.
Result<std::optional<std::size_t>> LengthAt(std::string_view bytes, std::size_t before, std::size_t length_min,
                                            std::size_t bytes_max) {
  if (bytes.size() < before + 4) return std::optional<std::size_t>();
  const std::uint32_t length = BigEndian(bytes.substr(before, 4));
  if (length < length_min) return InvalidInput("a message cannot have a length of {}", length);
  if (length > bytes_max) return TooLarge("a message has {} bytes, {} are taken", length, bytes_max);
  return std::optional<std::size_t>(before + length);
}

bool ReadFormats(ByteReader& reader, std::vector<Format>& formats) {
  const std::int16_t count = reader.Int16();
  for (std::int16_t i = 0; i < count && reader.ok(); ++i) {
    const std::int16_t format = reader.Int16();
    if (format != 0 && format != 1) return false;
    formats.push_back(static_cast<Format>(format));
  }
  return count >= 0 && reader.ok();
}

Result<Message> ReadParse(ByteReader reader) {
  Parse parse;
  parse.name = reader.Text();
  parse.sql = reader.Text();
  const std::int16_t count = reader.Int16();
  for (std::int16_t i = 0; i < count && reader.ok(); ++i) {
    parse.parameter_types.push_back(static_cast<std::uint32_t>(reader.Int32()));
  }
  if (count < 0 || !reader.at_end()) return Malformed("Parse");
  return parse;
}

Result<Message> ReadBind(ByteReader reader) {
  Bind bind;
  bind.portal = reader.Text();
  bind.statement = reader.Text();
  if (!ReadFormats(reader, bind.parameter_formats)) return Malformed("Bind");
  const std::int16_t count = reader.Int16();
  for (std::int16_t i = 0; i < count && reader.ok(); ++i) {
    const std::int32_t size = reader.Int32();
    if (size < -1) return Malformed("Bind");
    if (size == -1) {
      bind.values.emplace_back();
    } else {
      bind.values.emplace_back(reader.Bytes(static_cast<std::size_t>(size)));
    }
  }
  if (count < 0 || !ReadFormats(reader, bind.result_formats) || !reader.at_end()) return Malformed("Bind");
  const auto num_formats = bind.parameter_formats.size();
  if (num_formats > 1 && num_formats != bind.values.size()) return Malformed("Bind");
  return bind;
}

template <typename T>
Result<Message> ReadTarget(ByteReader reader, const char* what) {
  T message;
  const char target = static_cast<char>(reader.Byte());
  if (target != 'S' && target != 'P') return Malformed(what);
  message.target = static_cast<Target>(target);
  message.name = reader.Text();
  if (!reader.at_end()) return Malformed(what);
  return message;
}

}  // namespace

std::string_view ByteReader::Bytes(std::size_t size) {
  if (!ok_ || size > rest_.size()) {
    ok_ = false;
    return {};
  }
  const std::string_view bytes = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return bytes;
}

std::string_view ByteReader::Text() {
  const auto end = rest_.find('\0');
  if (!ok_ || end == std::string_view::npos) {
    ok_ = false;
    return {};
  }
  const std::string_view text = rest_.substr(0, end);
  rest_.remove_prefix(end + 1);
  return text;
}

std::uint64_t ByteReader::Unsigned(std::size_t size) {
  std::uint64_t value = 0;
  for (const char byte : Bytes(size)) value = (value << 8) | static_cast<unsigned char>(byte);
  return value;
}

Result<std::optional<std::size_t>> FirstMessageBytes(std::string_view bytes) {
  return LengthAt(bytes, 0, 8, kEarlyMessageBytesMax);
}

Result<std::optional<std::size_t>> MessageBytes(std::string_view bytes, std::size_t bytes_max) {
  return LengthAt(bytes, 1, 4, bytes_max);
}

Result<FirstMessage> ReadFirstMessage(std::string_view bytes) {
  ByteReader reader(bytes.substr(std::min<std::size_t>(4, bytes.size())));
  const auto code = static_cast<std::uint32_t>(reader.Int32());
  if (code == kSslCode || code == kGssCode) {
    if (!reader.at_end()) return Malformed("SSLRequest");
    return code == kSslCode ? FirstMessage(SslRequest{}) : FirstMessage(GssRequest{});
  }
  if (code == kCancelCode) {
    CancelRequest cancel;
    cancel.process = static_cast<std::uint32_t>(reader.Int32());
    cancel.secret = static_cast<std::uint32_t>(reader.Int32());
    if (!reader.at_end()) return Malformed("CancelRequest");
    return cancel;
  }
  if (!reader.ok()) return Malformed("StartupMessage");
  if (code >> 16 != 3) {
    return Unsupported("protocol {}.{} is not spoken here, 3.0 is", code >> 16, code & 0xFFFF);
  }
  Startup startup{.minor_version = static_cast<std::uint16_t>(code & 0xFFFF)};
  for (;;) {
    std::string name(reader.Text());
    if (!reader.ok()) return Malformed("StartupMessage");
    if (name.empty()) break;
    std::string value(reader.Text());
    startup.settings.emplace_back(std::move(name), std::move(value));
    if (startup.settings.size() > kSettingsMax) return Malformed("StartupMessage");
  }
  if (!reader.at_end()) return Malformed("StartupMessage");
  return startup;
}

Result<Message> ReadMessage(std::string_view bytes) {
  if (bytes.size() < 5) return Malformed("of less than five bytes");
  const char type = bytes[0];
  ByteReader reader(bytes.substr(5));
  const auto without_content = [&](Message message, const char* what) -> Result<Message> {
    if (!reader.at_end()) return Malformed(what);
    return message;
  };
  switch (type) {
    case 'Q': {
      std::string sql(reader.Text());
      if (!reader.at_end()) return Malformed("Query");
      return Query{std::move(sql)};
    }
    case 'P':
      return ReadParse(reader);
    case 'B':
      return ReadBind(reader);
    case 'D':
      return ReadTarget<Describe>(reader, "Describe");
    case 'C':
      return ReadTarget<Close>(reader, "Close");
    case 'E': {
      Execute execute;
      execute.portal = reader.Text();
      execute.rows_max = std::max(0, reader.Int32());
      if (!reader.at_end()) return Malformed("Execute");
      return execute;
    }
    case 'H':
      return without_content(Flush{}, "Flush");
    case 'S':
      return without_content(Sync{}, "Sync");
    case 'X':
      return without_content(Terminate{}, "Terminate");
    case 'c':
    case 'd':
    case 'f':
      return CopyPart{};
    case 'F':
      return FunctionCall{};
    case 'p':
      return PasswordResponse{std::string(bytes.substr(5))};
    default:
      return InvalidInput("there is no message of type 0x{:02x}", static_cast<unsigned char>(type));
  }
}

Result<SaslInitial> ReadSaslInitial(std::string_view content) {
  ByteReader reader(content);
  SaslInitial initial;
  initial.mechanism = reader.Text();
  const std::int32_t size = reader.Int32();
  if (size > 0) initial.data = reader.Bytes(static_cast<std::size_t>(size));
  if (size < -1 || !reader.at_end()) return Malformed("SASLInitialResponse");
  return initial;
}

Result<std::string> ReadPassword(std::string_view content) {
  ByteReader reader(content);
  std::string password(reader.Text());
  if (!reader.at_end()) return Malformed("PasswordMessage");
  return password;
}

void AppendInt16(std::string& out, std::int16_t value) {
  const auto bits = static_cast<std::uint16_t>(value);
  out += static_cast<char>(bits >> 8);
  out += static_cast<char>(bits & 0xFF);
}

void AppendInt32(std::string& out, std::int32_t value) {
  const auto bits = static_cast<std::uint32_t>(value);
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>((bits >> shift) & 0xFF);
}

void AppendInt64(std::string& out, std::int64_t value) {
  const auto bits = static_cast<std::uint64_t>(value);
  for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>((bits >> shift) & 0xFF);
}

namespace {

void PutInt32(std::string& out, std::size_t at, std::size_t value) {
  for (std::size_t i = 0; i < 4; ++i) out[at + i] = static_cast<char>((value >> (24 - 8 * i)) & 0xFF);
}

void AppendText(std::string& out, std::string_view text) {
  // A NUL would end it before its end.
  out += text.substr(0, text.find('\0'));
  out += '\0';
}

}  // namespace

void Replies::Begin(char type) {
  out_ += type;
  length_at_ = out_.size();
  AppendInt32(out_, 0);
}

void Replies::End() { PutInt32(out_, length_at_, out_.size() - length_at_); }

void Replies::AuthenticationOk() {
  Begin('R');
  AppendInt32(out_, 0);
  End();
}

void Replies::AuthenticationCleartextPassword() {
  Begin('R');
  AppendInt32(out_, 3);
  End();
}

void Replies::AuthenticationSasl(const std::vector<std::string>& mechanisms) {
  Begin('R');
  AppendInt32(out_, 10);
  for (const auto& mechanism : mechanisms) AppendText(out_, mechanism);
  out_ += '\0';
  End();
}

void Replies::AuthenticationSaslContinue(std::string_view data) {
  Begin('R');
  AppendInt32(out_, 11);
  out_ += data;
  End();
}

void Replies::AuthenticationSaslFinal(std::string_view data) {
  Begin('R');
  AppendInt32(out_, 12);
  out_ += data;
  End();
}

void Replies::BackendKeyData(std::uint32_t process, std::uint32_t secret) {
  Begin('K');
  AppendInt32(out_, static_cast<std::int32_t>(process));
  AppendInt32(out_, static_cast<std::int32_t>(secret));
  End();
}

void Replies::NegotiateProtocolVersion(std::uint32_t newest_minor, const std::vector<std::string>& unknown_options) {
  Begin('v');
  AppendInt32(out_, static_cast<std::int32_t>(3U << 16 | newest_minor));
  AppendInt32(out_, static_cast<std::int32_t>(unknown_options.size()));
  for (const auto& option : unknown_options) AppendText(out_, option);
  End();
}

void Replies::ParameterStatus(std::string_view name, std::string_view value) {
  Begin('S');
  AppendText(out_, name);
  AppendText(out_, value);
  End();
}

void Replies::ReadyForQuery(TransactionState state) {
  Begin('Z');
  out_ += static_cast<char>(state);
  End();
}

void Replies::RowDescription(const std::vector<ResultField>& fields) {
  Begin('T');
  AppendInt16(out_, static_cast<std::int16_t>(fields.size()));
  for (const auto& field : fields) {
    AppendText(out_, field.name);
    AppendInt32(out_, 0);  // No column of a table, as far as the client needs to know.
    AppendInt16(out_, 0);
    AppendInt32(out_, static_cast<std::int32_t>(field.type));
    AppendInt16(out_, field.type_bytes);
    AppendInt32(out_, field.modifier);
    AppendInt16(out_, static_cast<std::int16_t>(field.format));
  }
  End();
}

void Replies::ParameterDescription(const std::vector<std::uint32_t>& types) {
  Begin('t');
  AppendInt16(out_, static_cast<std::int16_t>(types.size()));
  for (const auto type : types) AppendInt32(out_, static_cast<std::int32_t>(type));
  End();
}

void Replies::NoData() {
  Begin('n');
  End();
}

void Replies::ParseComplete() {
  Begin('1');
  End();
}

void Replies::BindComplete() {
  Begin('2');
  End();
}

void Replies::CloseComplete() {
  Begin('3');
  End();
}

void Replies::PortalSuspended() {
  Begin('s');
  End();
}

void Replies::EmptyQueryResponse() {
  Begin('I');
  End();
}

void Replies::CommandComplete(std::string_view tag) {
  Begin('C');
  AppendText(out_, tag);
  End();
}

void Replies::Error(const SqlError& error, bool is_fatal) {
  Begin('E');
  Fields(is_fatal ? "FATAL" : "ERROR", error);
  End();
}

void Replies::Notice(std::string_view severity, const SqlError& notice) {
  Begin('N');
  Fields(severity, notice);
  End();
}

void Replies::Fields(std::string_view severity, const SqlError& error) {
  const auto field = [this](char type, std::string_view text) {
    out_ += type;
    AppendText(out_, text);
  };
  field('S', severity);
  field('V', severity);
  field('C', error.code);
  field('M', error.message);
  if (!error.hint.empty()) field('H', error.hint);
  if (error.position > 0) field('P', std::to_string(error.position));
  out_ += '\0';
}

void Replies::BeginRow(std::int16_t num_columns) {
  Begin('D');
  AppendInt16(out_, num_columns);
}

void Replies::NullCell() { AppendInt32(out_, -1); }

void Replies::BeginCell() {
  cell_at_ = out_.size();
  AppendInt32(out_, 0);
}

void Replies::EndCell() { PutInt32(out_, cell_at_, out_.size() - cell_at_ - 4); }

}  // namespace millrace::postgres
