#include "postgres/session.h"

#include <arrow/builder.h>
#include <arrow/record_batch.h>
#include <arrow/table.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <limits>

#include "postgres/parameter.h"
#include "postgres/types.h"
#include "postgres/value.h"
#include "serve/answer_writer.h"
#include "serve/sql_api.h"

namespace millrace::postgres {
namespace {

using std::chrono::steady_clock;

constexpr const char* kScope = "sql";

SqlError Error(std::string_view code, std::string message, std::string hint = {}) {
  return {.code = code, .message = std::move(message), .hint = std::move(hint)};
}

// `$1` becomes CAST($1 AS BIGINT), for those that have a cast.
std::string WithCasts(std::string_view sql, const std::vector<ParameterValue>& values) {
  std::string out;
  std::size_t from = 0;
  for (const auto& token : Tokens(sql)) {
    if (token.kind != Token::Kind::kParameter) continue;
    const auto value = std::find_if(values.begin(), values.end(), [&](const ParameterValue& one) {
      return one.parameter.name == token.text.substr(1);
    });
    if (value == values.end() || value->cast.empty()) continue;
    const auto at = static_cast<std::size_t>(token.text.data() - sql.data());
    out += sql.substr(from, at - from);
    out += fmt::format("CAST({} AS {})", token.text, value->cast);
    from = at + token.text.size();
  }
  out += sql.substr(from);
  return out;
}

bool HasParameter(std::string_view sql, std::string_view name) {
  const auto tokens = Tokens(sql);
  return std::any_of(tokens.begin(), tokens.end(), [&](const Token& token) {
    return token.kind == Token::Kind::kParameter && token.text.substr(1) == name;
  });
}

Format FormatOf(const std::vector<Format>& formats, std::size_t index) {
  if (formats.empty()) return Format::kText;
  return formats.size() == 1 ? formats[0] : formats[index];
}

bool HasRows(const Statement& statement) {
  return statement.command == Command::kAsk || statement.command == Command::kShow;
}

constexpr std::size_t kWarnedOfMax = 8;

SqlError PartialWarning(const std::vector<query::MissingSource>& missing) {
  std::string message = "the answer is partial: ";
  for (std::size_t i = 0; i < std::min(missing.size(), kWarnedOfMax); ++i) {
    fmt::format_to(std::back_inserter(message), "{}{}: {}", i == 0 ? "" : "; ", missing[i].name, missing[i].reason);
  }
  if (missing.size() > kWarnedOfMax) {
    fmt::format_to(std::back_inserter(message), "; and {} more", missing.size() - kWarnedOfMax);
  }
  return Error(sql_state::kWarning, std::move(message),
               "What these workers read is in it as far as it is committed. SHOW millrace.partial names them all.");
}

// Columns of texts, as an answer has them.
Result<query::Answer> TextAnswer(const std::vector<std::string>& names,
                                 const std::vector<std::vector<std::string>>& rows) {
  query::Answer answer;
  arrow::FieldVector fields;
  arrow::ArrayVector arrays;
  for (std::size_t i = 0; i < names.size(); ++i) {
    arrow::StringBuilder builder;
    for (const auto& row : rows) RETURN_NOT_OK(builder.Append(row[i]));
    ASSIGN_OR_RETURN(arrays.emplace_back(), builder.Finish());
    fields.push_back(arrow::field(names[i], arrow::utf8()));
    answer.columns.push_back({names[i], "VARCHAR"});
  }
  answer.rows = arrow::Table::Make(arrow::schema(std::move(fields)), arrays, static_cast<std::int64_t>(rows.size()));
  return answer;
}

}  // namespace

Passwords::Passwords(std::vector<serve::AccessToken> accepted)
    : tokens(std::move(accepted)), scram([this] {
        std::vector<std::string> passwords;
        for (const auto& token : tokens) passwords.push_back(token.token);
        return passwords;
      }()) {}

struct Session::Prepared {
  std::string sql;
  bool asks_catalog = false;
  bool keeps_places = true;  // Places in `sql` are places in what the client sent.
  std::size_t offset = 0;    // Of it in what the client sent, in characters: where an error is told to be.
  Statement statement;
  std::vector<std::uint32_t> types;  // Of the parameters, as far as the client or Shape() said.
  /// What the client was told of the columns; nullopt: nothing yet.
  std::optional<std::vector<ResultField>> described{};
};

struct Session::Portal {
  std::shared_ptr<Prepared> prepared;
  std::vector<ParameterValue> values{};
  std::vector<Format> formats{};
  std::size_t value_bytes = 0;

  bool is_open = false;  // The rest is there.
  bool is_done = false;
  std::string tag{};
  std::vector<ResultField> fields{};
  std::vector<PgType> types{};
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches{};  // Reversed: the next is the last.
  std::vector<CellWriter> writers{};                           // Of the batch that is being sent; empty: none is yet.
  std::int64_t row = 0;                                        // In it.
  std::int64_t rows_sent = 0;
  std::shared_ptr<void> held{};  // What the rows draw their memory from.

  Status Fill(query::Answer answer);
};

Status Session::Portal::Fill(query::Answer answer) {
  const auto& told = prepared->described;
  types.clear();
  fields.clear();
  for (std::size_t i = 0; i < answer.columns.size(); ++i) {
    const auto& column = answer.columns[i];
    const PgType type = TypeOf(column.duckdb_type);
    types.push_back(type);
    fields.push_back({.name = column.name,
                      .type = type.oid,
                      .type_bytes = type.bytes,
                      .modifier = type.modifier,
                      .format = FormatOf(formats, i)});
  }
  if (formats.size() > 1 && formats.size() != fields.size()) {
    return InvalidInput("bind message has {} result formats but query has {} columns", formats.size(), fields.size());
  }
  if (told && told->size() == fields.size()) {
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if ((*told)[i].type == fields[i].type) continue;
      // The type was not known without values. A text's binary form is the text.
      if ((*told)[i].type != oid::kText) return InvalidInput("cached plan must not change result type");
      fields[i] = {.name = fields[i].name, .type = oid::kText, .format = fields[i].format};
    }
  }
  arrow::TableBatchReader reader(*answer.rows);
  ASSIGN_OR_RETURN(batches, reader.ToRecordBatches());
  std::reverse(batches.begin(), batches.end());
  held = std::move(answer.held);
  is_open = true;
  return Status::OK();
}

Session::Session(std::shared_ptr<const SessionContext> context, const Connection& connection)
    : context_(std::move(context)), connection_(connection) {
  if (context_->memory != nullptr) memory_ = context_->memory->NewShare("PostgreSQL's clients");
  CountMemory();
}

Session::~Session() = default;

void Session::Begin(const Startup& startup) {
  startup_settings_ = startup.settings;
  std::vector<std::string> unknown;
  for (const auto& [name, value] : startup.settings) {
    if (name == "user") user_ = value;
    if (name == "database") database_ = value;
    if (name.starts_with("_pq_.")) unknown.push_back(name);
  }
  if (database_.empty()) database_ = user_;
  if (startup.minor_version != 0 || !unknown.empty()) Replies(first_).NegotiateProtocolVersion(0, unknown);
}

void Session::Take(Message message) {
  message_ = std::move(message);
  taken_ = steady_clock::now();
}

void Session::Cancel() {
  const std::scoped_lock lock(stop_mutex_);
  if (running_) running_->request_stop();
}

void Session::Leave() {
  const std::scoped_lock lock(stop_mutex_);
  left_for_good_ = true;
  if (running_) running_->request_stop();
}

template <typename Call>
auto Session::Limited(Call call) -> decltype(call(std::stop_token())) {
  std::stop_token stop;
  {
    const std::scoped_lock lock(stop_mutex_);
    running_.emplace();
    if (left_for_good_) running_->request_stop();
    stop = running_->get_token();
  }
  auto timeout = context_->query_timeout;
  if (const auto own = settings_.timeout()) timeout = std::min(timeout, *own);
  const auto passed = std::chrono::floor<std::chrono::milliseconds>(steady_clock::now() - taken_);
  const serve::Deadline deadline(stop, std::max(timeout - passed, std::chrono::milliseconds(0)));
  auto result = call(deadline.token());
  {
    const std::scoped_lock lock(stop_mutex_);
    running_.reset();
  }
  if (result.ok() || KindOf(result.status()) != ErrorKind::kCancelled) return result;
  return Cancelled("canceling statement due to {}", deadline.passed() ? "statement timeout" : "user request");
}

bool Session::MayBlock() const {
  if (!authenticated_ || sending_ != nullptr) return false;
  if (in_query_) return !left_.empty();
  if (!message_) return false;
  const auto opens = [&](const std::string& name) {
    const auto found = portals_.find(name);
    return found != portals_.end() && !found->second->is_open;
  };
  if (const auto* execute = std::get_if<Execute>(&*message_)) return opens(execute->portal);
  const auto* describe = std::get_if<Describe>(&*message_);
  return describe != nullptr && (describe->target == Target::kStatement || opens(describe->name));
}

bool Session::HoldsAnswer() const {
  return std::any_of(portals_.begin(), portals_.end(), [](const auto& one) { return one.second->held != nullptr; });
}

Session::Next Session::Advance(std::string& out) {
  Replies replies(out);
  if (!started_) {
    started_ = true;
    out += std::exchange(first_, {});
    if (context_->needs_tls && !connection_.is_tls) {
      Refuse(replies, Error(sql_state::kInvalidAuthorization, "this server takes connections with TLS only",
                            "Connect with sslmode=require, or better verify-full."));
    } else if (context_->passwords == nullptr) {
      Welcome(replies, {kScope});
    } else {
      scram_.emplace(context_->passwords->scram, "");
      replies.AuthenticationSasl({kScramMechanism});
    }
  } else if (sending_ != nullptr) {
    SendRows(replies);
  } else if (in_query_) {
    NextOfQuery(replies);
  } else if (message_) {
    Message message = *std::exchange(message_, std::nullopt);
    if (authenticated_) {
      Handle(replies, std::move(message));
    } else if (const auto* response = std::get_if<PasswordResponse>(&message)) {
      Authenticate(replies, response->content);
    } else if (std::holds_alternative<Terminate>(message)) {
      ended_ = true;
    } else {
      Refuse(replies, Error(sql_state::kProtocolViolation, "a password is expected before anything else"));
    }
  }
  if (ended_) return Next::kEnd;
  return sending_ != nullptr || in_query_ ? Next::kMore : Next::kInput;
}

void Session::Refuse(Replies& replies, SqlError error) {
  replies.Error(error, /*is_fatal=*/true);
  ended_ = true;
}

void Session::Authenticate(Replies& replies, std::string_view content) {
  if (!scram_begun_) {
    const auto initial = ReadSaslInitial(content);
    auto first = initial.ok() ? scram_->First(initial->mechanism, initial->data) : initial.status();
    if (!first.ok()) return Refuse(replies, Error(sql_state::kProtocolViolation, first.status().message()));
    scram_begun_ = true;
    return replies.AuthenticationSaslContinue(*first);
  }
  const auto done = scram_->Final(content);
  if (!done.ok()) return Refuse(replies, Error(sql_state::kProtocolViolation, done.status().message()));
  if (!*done) {
    return Refuse(replies, Error(sql_state::kInvalidPassword,
                                 fmt::format("password authentication failed for user \"{}\"", user_),
                                 "The password is a token of serve.auth, whatever the user."));
  }
  replies.AuthenticationSaslFinal((*done)->server_final);
  Welcome(replies, context_->passwords->tokens[(*done)->password].scopes);
}

void Session::Welcome(Replies& replies, const std::vector<std::string>& scopes) {
  if (std::find(scopes.begin(), scopes.end(), kScope) == scopes.end()) {
    return Refuse(replies, Error(sql_state::kInsufficientPrivilege, "the token does not have the scope 'sql'"));
  }
  std::vector<std::pair<std::string, std::string>> asked;
  for (const auto& [name, value] : startup_settings_) {
    if (name == "user" || name == "database" || name.starts_with("_pq_.")) continue;
    if (name == "replication") {
      return Refuse(replies, Error(sql_state::kFeatureNotSupported, "replication connections are not taken"));
    }
    if (name == "options") {
      for (auto& option : ReadOptions(value)) asked.push_back(std::move(option));
    } else {
      asked.emplace_back(name, value);
    }
  }
  settings_.SetFixed("session_authorization", user_);
  for (const auto& [name, value] : asked) {
    const auto failure = settings_.Set(name, value);
    // A driver that sends its own time zone or the like is told what holds, by ParameterStatus.
    if (failure && !Settings::Knows(name)) return Refuse(replies, *failure);
  }
  scram_.reset();
  startup_settings_.clear();
  authenticated_ = true;
  replies.AuthenticationOk();
  for (const auto& [reported, name] : Settings::Reported()) replies.ParameterStatus(reported, *settings_.Get(name));
  replies.BackendKeyData(connection_.process, connection_.secret);
  replies.ReadyForQuery(state_);
}

void Session::Fail(Replies& replies, const SqlError& error) {
  if (state_ == TransactionState::kOpen) state_ = TransactionState::kFailed;
  replies.Error(error);
  if (in_query_) {
    in_query_ = false;
    left_.clear();
    replies.ReadyForQuery(state_);
  } else {
    skips_to_sync_ = true;
  }
}

void Session::Handle(Replies& replies, Message message) {
  if (std::holds_alternative<Terminate>(message)) {
    ended_ = true;
    return;
  }
  if (std::holds_alternative<Sync>(message)) {
    skips_to_sync_ = false;
    if (state_ == TransactionState::kNone) portals_.clear();
    return replies.ReadyForQuery(state_);
  }
  if (skips_to_sync_) return;
  Failure failure;
  if (auto* query = std::get_if<Query>(&message)) {
    Begin(replies, std::move(*query));
  } else if (auto* parse = std::get_if<Parse>(&message)) {
    failure = Do(replies, std::move(*parse));
  } else if (auto* bind = std::get_if<Bind>(&message)) {
    failure = Do(replies, std::move(*bind));
  } else if (const auto* describe = std::get_if<Describe>(&message)) {
    failure = Do(replies, *describe);
  } else if (const auto* execute = std::get_if<Execute>(&message)) {
    failure = Do(replies, *execute);
  } else if (const auto* close = std::get_if<Close>(&message)) {
    failure = Do(replies, *close);
  } else if (std::holds_alternative<FunctionCall>(message)) {
    // It is not followed by Sync.
    in_query_ = true;
    failure = Error(sql_state::kFeatureNotSupported, "function calls are not taken: use SELECT");
  } else if (std::holds_alternative<PasswordResponse>(message)) {
    failure = Error(sql_state::kProtocolViolation, "no password was asked for");
  }
  if (failure) Fail(replies, *failure);
}

void Session::Begin(Replies& replies, Query query) {
  portals_.erase("");
  query_ = std::move(query.sql);
  const auto statements = SplitStatements(query_);
  left_.assign(statements.begin(), statements.end());
  in_query_ = true;
  if (!left_.empty()) return;
  replies.EmptyQueryResponse();
  replies.ReadyForQuery(state_);
  in_query_ = false;
}

void Session::NextOfQuery(Replies& replies) {
  if (left_.empty()) {
    in_query_ = false;
    return replies.ReadyForQuery(state_);
  }
  const std::string_view sql = left_.front();
  left_.pop_front();
  const std::string_view before(query_.data(), static_cast<std::size_t>(sql.data() - query_.data()));
  auto prepared = Read(sql);
  prepared->offset =
      static_cast<std::size_t>(std::count_if(before.begin(), before.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  const auto portal = std::make_shared<Portal>(Portal{.prepared = std::move(prepared)});
  Failure failure = FailureInTransaction(portal->prepared->statement);
  if (!failure && HasRows(portal->prepared->statement)) {
    failure = Open(replies, *portal);
    if (!failure) replies.RowDescription(portal->fields);
  }
  if (!failure) failure = StartRows(replies, portal, 0);
  if (failure) Fail(replies, *failure);
}

void Session::CountMemory() { memory_.Set(kConnectionBytes + static_cast<std::int64_t>(KeptBytes())); }

std::shared_ptr<Session::Prepared> Session::Read(std::string_view sql) const {
  auto prepared = std::make_shared<Prepared>();
  prepared->statement = ReadStatement(sql);
  if (!prepared->statement.may_name_catalog) {
    prepared->sql = std::string(sql);
    return prepared;
  }
  auto read = ReadCatalogSql(sql, Caller().names);
  prepared->sql = std::move(read.sql);
  prepared->asks_catalog = read.asks_catalog;
  prepared->keeps_places = read.keeps_places && !read.asks_catalog;
  return prepared;
}

Catalog::Caller Session::Caller() const {
  return {
      .names = {.user = user_, .database = database_}, .process = connection_.process, .settings = &settings_.values()};
}

std::size_t Session::KeptBytes() const {
  std::size_t bytes = 0;
  for (const auto& [name, prepared] : statements_) bytes += name.size() + prepared->sql.size();
  for (const auto& [name, portal] : portals_) bytes += name.size() + portal->value_bytes;
  return bytes;
}

Session::Failure Session::Do(Replies& replies, Parse parse) {
  if (!parse.name.empty() && statements_.contains(parse.name)) {
    return Error(sql_state::kDuplicateStatement, fmt::format("prepared statement \"{}\" already exists", parse.name));
  }
  if (parse.name.empty()) statements_.erase("");
  if (statements_.size() >= kStatementsMax || KeptBytes() + parse.sql.size() > kKeptBytesMax) {
    return Error(sql_state::kLimitExceeded,
                 fmt::format("a connection keeps {} prepared statements, and {} bytes of SQL and values",
                             kStatementsMax, kKeptBytesMax),
                 "DEALLOCATE those that are not needed.");
  }
  const auto statements = SplitStatements(parse.sql);
  if (statements.size() > 1) {
    return Error(sql_state::kSyntax, "cannot insert multiple commands into a prepared statement");
  }
  auto prepared = Read(statements.empty() ? std::string_view() : statements[0]);
  if (auto failure = FailureInTransaction(prepared->statement)) return failure;
  prepared->types = std::move(parse.parameter_types);
  statements_[parse.name] = std::move(prepared);
  CountMemory();
  replies.ParseComplete();
  return std::nullopt;
}

Session::Failure Session::Do(Replies& replies, Bind bind) {
  const auto found = statements_.find(bind.statement);
  if (found == statements_.end()) {
    return Error(sql_state::kUnknownStatement, fmt::format("prepared statement \"{}\" does not exist", bind.statement));
  }
  if (!bind.portal.empty() && portals_.contains(bind.portal)) {
    return Error(sql_state::kDuplicateCursor, fmt::format("portal \"{}\" already exists", bind.portal));
  }
  portals_.erase("");
  auto portal = std::make_shared<Portal>(Portal{.prepared = found->second, .formats = std::move(bind.result_formats)});
  if (auto failure = FailureInTransaction(portal->prepared->statement)) return failure;
  for (std::size_t i = 0; i < bind.values.size(); ++i) {
    const std::string name = std::to_string(i + 1);
    const std::uint32_t type = i < portal->prepared->types.size() ? portal->prepared->types[i] : 0;
    const Format format = FormatOf(bind.parameter_formats, i);
    if (!bind.values[i]) {
      portal->values.push_back({.parameter = {.name = name}});
      continue;
    }
    portal->value_bytes += bind.values[i]->size();
    auto value = ReadParameter(name, type, format, *bind.values[i]);
    if (!value.ok()) {
      SqlError error = ErrorOf(value.status(), "");
      if (KindOf(value.status()) == ErrorKind::kInvalidInput) {
        error.code =
            format == Format::kBinary ? sql_state::kInvalidBinaryRepresentation : sql_state::kInvalidTextRepresentation;
      }
      return error;
    }
    portal->values.push_back(*std::move(value));
  }
  if (portals_.size() >= kPortalsMax || KeptBytes() + portal->value_bytes > kKeptBytesMax) {
    return Error(sql_state::kLimitExceeded, fmt::format("a connection keeps {} portals, and {} bytes of SQL and values",
                                                        kPortalsMax, kKeptBytesMax));
  }
  portals_[bind.portal] = std::move(portal);
  CountMemory();
  replies.BindComplete();
  return std::nullopt;
}

Session::Failure Session::Shape(Prepared& prepared) {
  if (!HasRows(prepared.statement) || prepared.described) return std::nullopt;
  if (prepared.statement.command == Command::kShow) {
    Portal shown{.prepared = std::make_shared<Prepared>(prepared)};
    if (auto failure = Show(shown)) return failure;
    prepared.described = shown.fields;
    return std::nullopt;
  }
  std::vector<ParameterValue> casts;
  for (std::size_t i = 0; i < prepared.types.size(); ++i) {
    const auto* type = FindType(prepared.types[i]);
    if (type == nullptr || type->duckdb == "VARCHAR" || type->oid == oid::kNumeric) continue;
    casts.push_back({.parameter = {.name = std::to_string(i + 1)}, .cast = std::string(type->duckdb)});
  }
  const std::string sql = WithCasts(prepared.sql, casts);
  const auto shape = Limited([&](const std::stop_token& stop) {
    return prepared.asks_catalog ? context_->catalog->Shape(sql, Caller(), stop)
                                 : context_->backend->SqlShape(sql, stop);
  });
  if (!shape.ok()) return ErrorOf(shape.status(), casts.empty() && prepared.keeps_places ? prepared.sql : "");
  prepared.types.resize(std::max(prepared.types.size(), shape->parameters.size()), 0);
  for (const auto& parameter : shape->parameters) {
    std::size_t number = 0;
    std::from_chars(parameter.name.data(), parameter.name.data() + parameter.name.size(), number);
    if (number == 0 || number > prepared.types.size()) continue;
    auto& type = prepared.types[number - 1];
    if (type == 0 || type == oid::kUnknown) type = TypeOf(parameter.duckdb_type).oid;
  }
  auto& fields = prepared.described.emplace();
  for (const auto& column : shape->columns) {
    const PgType type = TypeOf(column.duckdb_type);
    fields.push_back({.name = column.name, .type = type.oid, .type_bytes = type.bytes, .modifier = type.modifier});
  }
  return std::nullopt;
}

Session::Failure Session::Do(Replies& replies, const Describe& describe) {
  if (describe.target == Target::kPortal) {
    const auto found = portals_.find(describe.name);
    if (found == portals_.end()) {
      return Error(sql_state::kUnknownCursor, fmt::format("portal \"{}\" does not exist", describe.name));
    }
    Portal& portal = *found->second;
    if (!HasRows(portal.prepared->statement)) {
      replies.NoData();
      return std::nullopt;
    }
    if (auto failure = Open(replies, portal)) return failure;
    replies.RowDescription(portal.fields);
    return std::nullopt;
  }
  const auto found = statements_.find(describe.name);
  if (found == statements_.end()) {
    return Error(sql_state::kUnknownStatement, fmt::format("prepared statement \"{}\" does not exist", describe.name));
  }
  Prepared& prepared = *found->second;
  if (auto failure = Shape(prepared)) return failure;
  auto types = prepared.types;
  for (auto& type : types) type = type == 0 ? oid::kText : type;
  replies.ParameterDescription(types);
  if (prepared.described) {
    replies.RowDescription(*prepared.described);
  } else {
    replies.NoData();
  }
  return std::nullopt;
}

Session::Failure Session::Do(Replies& replies, const Execute& execute) {
  const auto found = portals_.find(execute.portal);
  if (found == portals_.end()) {
    return Error(sql_state::kUnknownCursor, fmt::format("portal \"{}\" does not exist", execute.portal));
  }
  const auto portal = found->second;
  if (auto failure = FailureInTransaction(portal->prepared->statement)) return failure;
  if (HasRows(portal->prepared->statement)) {
    if (auto failure = Open(replies, *portal)) return failure;
  }
  return StartRows(replies, portal, execute.rows_max);
}

Session::Failure Session::Do(Replies& replies, const Close& close) {
  if (close.target == Target::kStatement) {
    statements_.erase(close.name);
  } else {
    portals_.erase(close.name);
  }
  CountMemory();
  replies.CloseComplete();
  return std::nullopt;
}

Session::Failure Session::Open(Replies& replies, Portal& portal) {
  if (portal.is_open) return std::nullopt;
  return portal.prepared->statement.command == Command::kShow ? Show(portal) : Ask(replies, portal);
}

Session::Failure Session::Ask(Replies& replies, Portal& portal) {
  const Prepared& prepared = *portal.prepared;
  query::SqlRequest request{.sql = WithCasts(prepared.sql, portal.values), .freshness = settings_.freshness()};
  for (const auto& value : portal.values) {
    // A value that the statement does not use is no mistake here.
    if (HasParameter(prepared.sql, value.parameter.name)) request.parameters.push_back(value.parameter);
  }
  const auto begun = steady_clock::now();
  auto answer = Limited([&](const std::stop_token& stop) {
    return prepared.asks_catalog ? context_->catalog->Ask(request.sql, request.parameters, Caller(), stop)
                                 : context_->backend->Sql(request, stop);
  });
  const double seconds = std::chrono::duration<double>(steady_clock::now() - begun).count();
  context_->on_asked(seconds, answer.ok());
  if (!answer.ok()) {
    auto error = ErrorOf(answer.status(), request.sql == prepared.sql && prepared.keeps_places ? prepared.sql : "");
    if (error.position > 0) error.position += static_cast<int>(prepared.offset);
    return error;
  }
  if (!prepared.asks_catalog) {
    settings_.SetFixed("millrace.as_of", serve::AsOfToJson(*answer));
    settings_.SetFixed("millrace.partial", serve::PartialToJson(*answer));
  }
  if (!answer->missing.empty()) Warn(replies, PartialWarning(answer->missing));
  const Status filled = portal.Fill(*std::move(answer));
  if (filled.ok()) return std::nullopt;
  auto error = ErrorOf(filled, "");
  if (KindOf(filled) == ErrorKind::kInvalidInput) error.code = sql_state::kFeatureNotSupported;
  return error;
}

void Session::Warn(Replies& replies, const SqlError& warning) const {
  if (settings_.hears_warnings()) replies.Notice("WARNING", warning);
}

Session::Failure Session::Show(Portal& portal) {
  const std::string& name = portal.prepared->statement.name;
  Result<query::Answer> answer = query::Answer();
  if (name == "all") {
    std::vector<std::vector<std::string>> rows;
    for (const auto& [key, value] : settings_.values()) rows.push_back({key, value});
    answer = TextAnswer({"name", "setting"}, rows);
  } else if (const auto* value = settings_.Get(name)) {
    answer = TextAnswer({name}, {{*value}});
  } else {
    return Error(sql_state::kUndefinedObject, fmt::format("unrecognized configuration parameter \"{}\"", name),
                 "SHOW ALL shows those that there are.");
  }
  const Status filled = answer.ok() ? portal.Fill(*std::move(answer)) : answer.status();
  if (!filled.ok()) return ErrorOf(filled, "");
  return std::nullopt;
}

Session::Failure Session::FailureInTransaction(const Statement& statement) const {
  if (state_ != TransactionState::kFailed) return std::nullopt;
  const bool goes_back = statement.command == Command::kSavepoint && statement.tag == "ROLLBACK";
  if (statement.command == Command::kCommit || statement.command == Command::kRollback || goes_back) {
    return std::nullopt;
  }
  return Error(sql_state::kInFailedTransaction,
               "current transaction is aborted, commands ignored until end of transaction block");
}

Session::Failure Session::Command(Replies& replies, Portal& portal) {
  const Statement& statement = portal.prepared->statement;
  const auto warn = [&](std::string_view code, const char* message) { Warn(replies, Error(code, message)); };
  portal.tag = statement.tag;
  switch (statement.command) {
    case Command::kBegin:
      if (state_ == TransactionState::kOpen) {
        warn(sql_state::kActiveTransaction, "there is already a transaction in progress");
      }
      state_ = TransactionState::kOpen;
      return std::nullopt;
    case Command::kCommit:
    case Command::kRollback:
      if (state_ == TransactionState::kNone) {
        warn(sql_state::kNoActiveTransaction, "there is no transaction in progress");
      }
      if (state_ == TransactionState::kFailed) portal.tag = "ROLLBACK";
      state_ = TransactionState::kNone;
      return std::nullopt;
    case Command::kSavepoint:
      if (state_ == TransactionState::kNone) {
        return Error(sql_state::kNoActiveTransaction,
                     fmt::format("{} can only be used in transaction blocks", statement.tag));
      }
      state_ = TransactionState::kOpen;
      return std::nullopt;
    case Command::kSet:
      return Set(statement);
    case Command::kReset:
      if (statement.name == "all") {
        settings_.Reset();
        return std::nullopt;
      }
      return settings_.Set(statement.name, "default");
    case Command::kDiscard:
      settings_.Reset();
      statements_.clear();
      return std::nullopt;
    case Command::kDeallocate:
      if (statement.value == "all") {
        statements_.clear();
      } else if (statements_.erase(statement.name) == 0) {
        return Error(sql_state::kUnknownStatement,
                     fmt::format("prepared statement \"{}\" does not exist", statement.name));
      }
      return std::nullopt;
    case Command::kWrite:
      return Error(sql_state::kReadOnlyTransaction,
                   fmt::format("cannot execute {} in a read-only transaction", statement.tag),
                   "Rows come from the pipeline alone: here they are read.");
    case Command::kUnsupported:
      return Error(sql_state::kFeatureNotSupported, fmt::format("{} is not taken here", statement.tag));
    default:
      return std::nullopt;
  }
}

Session::Failure Session::Set(const Statement& statement) {
  if (statement.name == "transaction") return std::nullopt;  // Reading at one version is all that there is.
  return settings_.Set(statement.name, statement.value);
}

Session::Failure Session::StartRows(Replies& replies, const std::shared_ptr<Portal>& portal, std::int64_t rows_max) {
  const Statement& statement = portal->prepared->statement;
  if (statement.command == Command::kEmpty) {
    replies.EmptyQueryResponse();
    return std::nullopt;
  }
  if (HasRows(statement)) {
    sending_ = portal;
    portal->rows_sent = 0;
    rows_left_ = rows_max > 0 ? rows_max : std::numeric_limits<std::int64_t>::max();
    return std::nullopt;
  }
  if (auto failure = Command(replies, *portal)) return failure;
  replies.CommandComplete(portal->tag);
  return std::nullopt;
}

void Session::SendRows(Replies& replies) {
  const std::shared_ptr<Portal> portal = sending_;
  auto& batches = portal->batches;
  const auto fail = [&](const Status& status) {
    sending_.reset();
    Fail(replies, ErrorOf(status, ""));
  };
  const std::size_t begun = replies.out().size();
  while (!batches.empty() && rows_left_ > 0 && replies.out().size() - begun < kChunkBytes) {
    const auto& batch = *batches.back();
    if (portal->writers.empty()) {
      for (int c = 0; c < batch.num_columns(); ++c) {
        const auto& told = portal->fields[c];
        // What is told to be a text, and is not, is sent as text.
        const Format format = told.type == portal->types[c].oid ? told.format : Format::kText;
        auto writer = MakeCellWriter(batch.column(c), portal->types[c], format);
        if (!writer.ok()) return fail(writer.status());
        portal->writers.push_back(*std::move(writer));
      }
    }
    for (; portal->row < batch.num_rows() && rows_left_ > 0 && replies.out().size() - begun < kChunkBytes;
         ++portal->row, ++portal->rows_sent, --rows_left_) {
      replies.BeginRow(static_cast<std::int16_t>(batch.num_columns()));
      for (int c = 0; c < batch.num_columns(); ++c) {
        if (batch.column(c)->IsNull(portal->row)) {
          replies.NullCell();
          continue;
        }
        replies.BeginCell();
        const Status written = portal->writers[c](portal->row, replies.out());
        if (!written.ok()) {
          replies.out().resize(begun);
          return fail(written);
        }
        replies.EndCell();
      }
      replies.EndRow();
    }
    if (portal->row < batch.num_rows()) continue;
    batches.pop_back();
    portal->writers.clear();
    portal->row = 0;
  }
  if (batches.empty() && (rows_left_ > 0 || portal->is_done)) {
    portal->is_done = true;
    portal->held.reset();
    replies.CommandComplete(
        portal->prepared->statement.command == Command::kShow ? "SHOW" : fmt::format("SELECT {}", portal->rows_sent));
    sending_.reset();
  } else if (rows_left_ == 0) {
    replies.PortalSuspended();
    sending_.reset();
  }
}

}  // namespace millrace::postgres
