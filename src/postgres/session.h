/// One client's connection, from its startup message to its end, as a machine without a socket: messages in, bytes out.
///
/// Whoever holds the socket calls Begin(), then Advance() until it says that there is nothing to do, and then Take()
/// and Advance() for each message of the client. Between two calls of Advance() what was appended is sent, so that a
/// result of any size takes a little memory beside its rows. One thread at a time; Cancel() and Leave() from any.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/memory_budget.h"
#include "base/status.h"
#include "postgres/catalog.h"
#include "postgres/message.h"
#include "postgres/scram.h"
#include "postgres/settings.h"
#include "postgres/statement.h"
#include "serve/access.h"
#include "serve/backend.h"

namespace millrace::postgres {

inline constexpr std::size_t kStatementsMax = 1000;  ///< Prepared by one connection.
inline constexpr std::size_t kPortalsMax = 64;
inline constexpr std::size_t kKeptBytesMax = 1 << 20;  ///< SQL and values of them all.
inline constexpr std::size_t kChunkBytes = 64 << 10;   ///< About how much Advance() appends at a time.

/// What a connection takes about, beside answers and what it keeps: what it reads into, and a part of an answer.
inline constexpr std::int64_t kConnectionBytes = 96 << 10;

/// Who opens the door. Immutable.
struct Passwords {
  explicit Passwords(std::vector<serve::AccessToken> accepted);

  std::vector<serve::AccessToken> tokens;
  ScramSecrets scram;  ///< Of the tokens, in their order.
};

/// What all sessions of a server share.
struct SessionContext {
  serve::Backend* backend = nullptr;             ///< Outlives the sessions.
  std::shared_ptr<Catalog> catalog{};            ///< Of the same tables.
  std::shared_ptr<const Passwords> passwords{};  ///< nullptr: everybody may ask.
  std::shared_ptr<MemoryBudget> memory{};        ///< What sessions are drawn from; null: nothing.
  bool needs_tls = false;
  std::chrono::milliseconds query_timeout{30'000};  ///< From a message to the first row of its answer.
  /// Hears of each statement that the engine was asked, and whether it answered.
  std::function<void(double seconds, bool ok)> on_asked = [](double, bool) {};
};

class Session {
 public:
  struct Connection {
    std::uint32_t process = 0;  ///< With `secret` what CancelRequest names.
    std::uint32_t secret = 0;
    bool is_tls = false;
  };

  Session(std::shared_ptr<const SessionContext> context, const Connection& connection);
  ~Session();

  /// Before anything else.
  void Begin(const Startup& startup);
  void Take(Message message);

  enum class Next {
    kMore,   ///< Send what there is, and call again.
    kInput,  ///< Send, and come with the next message.
    kEnd,    ///< Send, and close.
  };
  Next Advance(std::string& out);

  /// The next Advance() may ask the engine, and takes as long as that does. Others take a moment, and must not wait for
  /// those: they free the memory that the engine waits for.
  bool MayBlock() const;
  /// A portal has an answer that was not sent to its end: memory that others wait for.
  bool HoldsAnswer() const;

  /// The client is who it says.
  bool is_authenticated() const { return authenticated_; }

  /// Ends the statement that runs, if one does. Any thread.
  void Cancel();
  /// The client is not there any more: the statement that runs ends, and so does each one that would come. Any thread.
  void Leave();

 private:
  struct Prepared;
  struct Portal;
  using Failure = std::optional<SqlError>;

  void Welcome(Replies& replies, const std::vector<std::string>& scopes);
  void Authenticate(Replies& replies, std::string_view content);
  void Refuse(Replies& replies, SqlError error);
  void Fail(Replies& replies, const SqlError& error);

  void Handle(Replies& replies, Message message);
  void Begin(Replies& replies, Query query);
  void NextOfQuery(Replies& replies);
  Failure Do(Replies& replies, Parse parse);
  Failure Do(Replies& replies, Bind bind);
  Failure Do(Replies& replies, const Describe& describe);
  Failure Do(Replies& replies, const Execute& execute);
  Failure Do(Replies& replies, const Close& close);

  /// What is prepared of one statement, as it is to be asked.
  std::shared_ptr<Prepared> Read(std::string_view sql) const;
  Catalog::Caller Caller() const;
  /// Fills in what the client may be told of a statement before it has values.
  Failure Shape(Prepared& prepared);
  /// Runs a statement that has rows, unless that was done.
  Failure Open(Replies& replies, Portal& portal);
  /// A partial answer comes with a WARNING.
  Failure Ask(Replies& replies, Portal& portal);
  /// Unless the client wants to hear of errors alone.
  void Warn(Replies& replies, const SqlError& warning) const;
  Failure Show(Portal& portal);
  /// Runs one that has none. `portal.tag` is what it comes to.
  Failure Command(Replies& replies, Portal& portal);
  Failure Set(const Statement& statement);
  Failure FailureInTransaction(const Statement& statement) const;

  Failure StartRows(Replies& replies, const std::shared_ptr<Portal>& portal, std::int64_t rows_max);
  /// A chunk of the rows of `sending_`, and their end when it is reached.
  void SendRows(Replies& replies);
  std::size_t KeptBytes() const;
  void CountMemory();

  /// As calls that may take long end: by Cancel(), Leave() or the timeout.
  template <typename Call>
  auto Limited(Call call) -> decltype(call(std::stop_token()));

  const std::shared_ptr<const SessionContext> context_;
  const Connection connection_;

  MemoryShare memory_;
  std::string first_;  // Goes out before everything else.
  std::vector<std::pair<std::string, std::string>> startup_settings_;
  std::string user_;
  std::string database_;
  bool started_ = false;
  bool authenticated_ = false;
  bool ended_ = false;
  std::optional<ScramExchange> scram_;
  bool scram_begun_ = false;

  std::optional<Message> message_;
  std::chrono::steady_clock::time_point taken_;  // When the message came.
  bool skips_to_sync_ = false;
  TransactionState state_ = TransactionState::kNone;
  std::map<std::string, std::shared_ptr<Prepared>> statements_;
  std::map<std::string, std::shared_ptr<Portal>> portals_;
  Settings settings_;

  // Of a simple query: its statements that are not done, as places in it.
  bool in_query_ = false;
  std::string query_;
  std::deque<std::string_view> left_;

  std::shared_ptr<Portal> sending_;  // Whose rows are being sent.
  std::int64_t rows_left_ = 0;       // Of this Execute; below 0: all.

  std::mutex stop_mutex_;
  std::optional<std::stop_source> running_;  // Guarded by stop_mutex_, and so is `left_for_good_`.
  bool left_for_good_ = false;
};

}  // namespace millrace::postgres
