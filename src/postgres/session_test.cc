#include "postgres/session.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "postgres/test_backend.h"
#include "postgres/types.h"

namespace millrace::postgres {
namespace {

class SessionTest : public ::testing::Test {
 protected:
  // What the server says, a message a word: its type, and what a test looks at.
  std::string Go() {
    std::string bytes;
    while (true) {
      const auto next = session_->Advance(bytes);
      if (next == Session::Next::kMore) continue;
      ended_ = next == Session::Next::kEnd;
      break;
    }
    std::string said;
    for (std::size_t at = 0; at < bytes.size();) {
      const char type = bytes[at];
      ByteReader reader(std::string_view(bytes).substr(at + 1));
      const auto size = static_cast<std::size_t>(reader.Int32());
      const std::string_view body = std::string_view(bytes).substr(at + 5, size - 4);
      if (!said.empty()) said += ' ';
      said += type;
      if (type == 'E' || type == 'N') said += ":" + std::string(body.substr(body.find("C") + 1, 5));
      if (type == 'Z') said += ":" + std::string(body);
      if (type == 'C') said += ":" + std::string(body.substr(0, body.size() - 1));
      if (type == 'D' || type == 'N' || type == 'T' || type == 't') last_[type] = std::string(body);
      at += 1 + size;
    }
    return said;
  }
  std::string Say(Message message) {
    session_->Take(std::move(message));
    return Go();
  }
  std::string Start(std::vector<std::pair<std::string, std::string>> settings = {{"user", "me"}}, int minor = 0) {
    session_ = std::make_unique<Session>(context_, Session::Connection{.process = 7, .secret = 8, .is_tls = is_tls_});
    session_->Begin({.minor_version = static_cast<std::uint16_t>(minor), .settings = std::move(settings)});
    return Go();
  }
  // The first column of the last row, in text.
  std::string Cell() {
    ByteReader reader(last_['D']);
    reader.Int16();
    const auto size = reader.Int32();
    return size < 0 ? "NULL" : std::string(reader.Bytes(static_cast<std::size_t>(size)));
  }
  std::string Prepare(const std::string& sql, std::vector<std::optional<std::string>> values = {}) {
    const std::string parsed = Say(Parse{.name = "", .sql = sql});
    return parsed + " " + Say(Bind{.portal = "", .statement = "", .values = std::move(values)});
  }

  SqlBackend backend_;
  std::shared_ptr<SessionContext> context_ = std::make_shared<SessionContext>(SessionContext{
      .backend = &backend_,
      .catalog = std::make_shared<Catalog>(
          Catalog::Options{.tables = [this](const std::stop_token& stop) { return backend_.SqlTables(stop); }})});
  std::unique_ptr<Session> session_;
  std::map<char, std::string> last_;
  bool ended_ = false;
  bool is_tls_ = false;
};

TEST_F(SessionTest, LetsEverybodyInWhereNothingIsAsked) {
  const std::string said = Start({{"user", "me"}, {"options", "-c statement_timeout=5s"}, {"TimeZone", "Asia/Tokyo"}});
  EXPECT_TRUE(said.starts_with("R S")) << said;
  EXPECT_TRUE(said.ends_with("S K Z:I")) << said;
  EXPECT_TRUE(session_->is_authenticated());
  Say(Query{"SHOW statement_timeout"});
  EXPECT_EQ(Cell(), "5s");
  Say(Query{"SHOW TimeZone"});
  EXPECT_EQ(Cell(), "UTC");
  EXPECT_EQ(Say(Terminate{}), "");
  EXPECT_TRUE(ended_);
}

TEST_F(SessionTest, TheCatalogAnswersWhatIsAboutIt) {
  backend_.tables = {{"clicks", false, {{"id", "BIGINT"}}}};
  Start({{"user", "me"}, {"database", "lake"}});
  EXPECT_EQ(Say(Query{"SELECT relname FROM pg_catalog.pg_class WHERE relname ~ '^cli'"}), "T D C:SELECT 1 Z:I");
  EXPECT_EQ(Cell(), "clicks");
  EXPECT_EQ(Say(Query{"SELECT current_user || '@' || current_database() || current_setting('application_name')"}),
            "T D C:SELECT 1 Z:I");
  EXPECT_EQ(Cell(), "me@lake");
  Prepare("SELECT atttypid FROM pg_attribute WHERE attname = $1", {"id"});
  EXPECT_EQ(Say(Describe{.target = Target::kPortal, .name = ""}) + " " + Say(Execute{}), "T D C:SELECT 1");
  EXPECT_EQ(Cell(), "20");
  EXPECT_EQ(Say(Sync{}), "Z:I");
  EXPECT_TRUE(Prepare("SELECT oid FROM pg_class WHERE relname = $1").ends_with("2"));
  EXPECT_EQ(Say(Describe{.target = Target::kStatement, .name = ""}), "t T");
  EXPECT_EQ(Say(Sync{}), "Z:I");
  EXPECT_TRUE(backend_.asked.empty());
  EXPECT_EQ(Say(Query{"SELECT * FROM pg_class, clicks"}), "E:42P01 Z:I");
  EXPECT_EQ(Say(Query{"SELECT nothing FROM pg_class"}), "E:42703 Z:I");
  Say(Query{"SET statement_timeout = 200"});
  EXPECT_EQ(Say(Query{"SELECT sum(range) FROM pg_class, range(1000000000000)"}), "E:57014 Z:I");
  Say(Query{"RESET ALL"});
  // What is about tables goes to them, without the schema that they are said to be in.
  Say(Query{"SELECT session_user FROM (SELECT 1)"});
  EXPECT_EQ(backend_.asked.back().sql, "SELECT 'me' FROM (SELECT 1)");
  EXPECT_EQ(Cell(), "me");
  EXPECT_EQ(Say(Query{"SELECT public.t.x FROM public.t"}).substr(0, 1), "E");
  EXPECT_EQ(backend_.asked.back().sql, "SELECT        t.x FROM        t");
}

TEST_F(SessionTest, ItsMemoryIsCounted) {
  context_->memory = MemoryBudget::Make(1 << 30);
  Start();
  EXPECT_EQ(context_->memory->used(), kConnectionBytes);
  const std::string sql = "SELECT '" + std::string(1000, 'x') + "'";
  Say(Parse{.name = "kept", .sql = sql});
  EXPECT_EQ(context_->memory->used(), kConnectionBytes + static_cast<std::int64_t>(sql.size() + 4));
  Say(Close{.target = Target::kStatement, .name = "kept"});
  EXPECT_EQ(context_->memory->used(), kConnectionBytes);
  session_.reset();
  EXPECT_EQ(context_->memory->used(), 0);
}

TEST_F(SessionTest, NegotiatesDownAndRefusesWhatItDoesNotKnow) {
  EXPECT_TRUE(Start({{"user", "me"}, {"_pq_.x", "1"}}, 2).starts_with("v R"));
  EXPECT_EQ(Start({{"user", "me"}, {"nothing", "1"}}), "E:42704");
  EXPECT_TRUE(ended_);
  EXPECT_EQ(Start({{"user", "me"}, {"replication", "true"}}), "E:0A000");
}

TEST_F(SessionTest, WantsTlsWhereItIsTold) {
  context_->needs_tls = true;
  EXPECT_EQ(Start(), "E:28000");
  is_tls_ = true;
  EXPECT_TRUE(Start().ends_with("Z:I"));
}

TEST_F(SessionTest, NothingIsTakenBeforeThePassword) {
  context_->passwords =
      std::make_shared<Passwords>(std::vector<serve::AccessToken>{{.token = "secret", .scopes = {"sql"}}});
  EXPECT_EQ(Start(), "R");
  EXPECT_EQ(Say(Query{"SELECT 1"}), "E:08P01");
  EXPECT_TRUE(ended_);
  Start();
  EXPECT_EQ(Say(PasswordResponse{"secret"}), "E:08P01");
  EXPECT_TRUE(backend_.asked.empty());
}

TEST_F(SessionTest, AnswersEachStatementOfASimpleQuery) {
  Start();
  EXPECT_EQ(Say(Query{"SELECT 1; SELECT 2 AS b UNION ALL SELECT 3; ;"}), "T D C:SELECT 1 T D D C:SELECT 2 Z:I");
  EXPECT_EQ(Say(Query{" ; "}), "I Z:I");
  EXPECT_EQ(Say(Query{"SELECT 1; SELECT nothing; SELECT 2"}), "T D C:SELECT 1 E:42703 Z:I");
  EXPECT_EQ(Say(Query{"INSERT INTO t VALUES (1)"}), "E:25006 Z:I");
  EXPECT_EQ(Say(Query{"COPY t TO STDOUT"}), "E:0A000 Z:I");
  EXPECT_EQ(Say(FunctionCall{}), "E:0A000 Z:I");
  EXPECT_EQ(Say(Query{"SELECT 4 WHERE false"}), "T C:SELECT 0 Z:I");
}

TEST_F(SessionTest, APartialAnswerComesWithAWarningAndSaysWhoIsMissing) {
  Start();
  EXPECT_EQ(Say(Query{"SELECT 1"}), "T D C:SELECT 1 Z:I");
  Say(Query{"SHOW millrace.partial"});
  EXPECT_EQ(Cell(), "[]");
  backend_.missing = {{"http://worker-2:8080", "Connection refused"}};
  EXPECT_EQ(Say(Query{"SELECT 1"}), "N:01000 T D C:SELECT 1 Z:I");
  EXPECT_NE(last_['N'].find("http://worker-2:8080: Connection refused"), std::string::npos) << last_['N'];
  Say(Query{"SHOW millrace.partial"});
  EXPECT_EQ(Cell(), R"(["http://worker-2:8080"])");
  Prepare("SELECT 2");
  EXPECT_EQ(Say(Execute{}), "N:01000 D C:SELECT 1");
  Say(Sync{});
  EXPECT_EQ(Say(Query{"SET millrace.partial = 'x'"}), "E:22023 Z:I");
  backend_.missing.clear();
  for (int i = 0; i < 9; ++i) backend_.missing.push_back({fmt::format("http://w{}:1", i), "gone"});
  Say(Query{"SELECT 1"});
  EXPECT_NE(last_['N'].find("http://w7:1: gone; and 1 more"), std::string::npos) << last_['N'];
  backend_.missing.clear();
  EXPECT_EQ(Say(Query{"SELECT 1"}), "T D C:SELECT 1 Z:I");
  Say(Query{"SHOW millrace.partial"});
  EXPECT_EQ(Cell(), "[]");
}

TEST_F(SessionTest, WhoWantsErrorsAloneHearsNoWarnings) {
  Start({{"user", "me"}, {"client_min_messages", "error"}});
  backend_.missing = {{"http://worker-2:8080", "Connection refused"}};
  EXPECT_EQ(Say(Query{"SELECT 1"}), "T D C:SELECT 1 Z:I");
  EXPECT_EQ(Say(Query{"COMMIT"}), "C:COMMIT Z:I");
  Say(Query{"SHOW millrace.partial"});
  EXPECT_EQ(Cell(), R"(["http://worker-2:8080"])") << "it is still said to who asks";
  EXPECT_EQ(Say(Query{"SELECT nothing"}), "E:42703 Z:I");
  Say(Query{"SET client_min_messages = WARNING"});
  EXPECT_EQ(Say(Query{"SELECT 1"}), "N:01000 T D C:SELECT 1 Z:I");
  EXPECT_EQ(Say(Query{"COMMIT"}), "N:25P01 C:COMMIT Z:I");
}

TEST_F(SessionTest, TransactionsAreStatesAlone) {
  Start();
  EXPECT_EQ(Say(Query{"COMMIT"}), "N:25P01 C:COMMIT Z:I");
  EXPECT_EQ(Say(Query{"BEGIN"}), "C:BEGIN Z:T");
  EXPECT_EQ(Say(Query{"BEGIN"}), "N:25001 C:BEGIN Z:T");
  EXPECT_EQ(Say(Query{"SAVEPOINT a"}), "C:SAVEPOINT Z:T");
  EXPECT_EQ(Say(Query{"SELECT nothing"}), "E:42703 Z:E");
  EXPECT_EQ(Say(Query{"SELECT 1"}), "E:25P02 Z:E");
  EXPECT_EQ(Say(Parse{.name = "", .sql = "SELECT 1"}), "E:25P02");
  EXPECT_EQ(Say(Sync{}), "Z:E");
  EXPECT_EQ(Say(Query{"ROLLBACK TO a"}), "C:ROLLBACK Z:T");
  EXPECT_EQ(Say(Query{"SELECT 1"}), "T D C:SELECT 1 Z:T");
  Say(Query{"SELECT nothing"});
  EXPECT_EQ(Say(Query{"COMMIT"}), "C:ROLLBACK Z:I");
  EXPECT_EQ(Say(Query{"SAVEPOINT a"}), "E:25P01 Z:I");
}

TEST_F(SessionTest, ExtendedQueriesSkipToSyncAfterAnError) {
  Start();
  EXPECT_EQ(Prepare("SELECT $1::INTEGER + 1 AS n", {"41"}), "1 2");
  EXPECT_EQ(Say(Describe{Target::kPortal, ""}), "T");
  EXPECT_EQ(Say(Execute{}), "D C:SELECT 1");
  EXPECT_EQ(Cell(), "42");
  EXPECT_EQ(backend_.asked.size(), 1U);
  EXPECT_EQ(Say(Sync{}), "Z:I");
  EXPECT_EQ(Say(Execute{}), "E:34000");
  EXPECT_EQ(Say(Execute{}), "");
  EXPECT_EQ(Say(Sync{}), "Z:I");
  EXPECT_EQ(Prepare("", {}), "1 2");
  EXPECT_EQ(Say(Describe{Target::kPortal, ""}), "n");
  EXPECT_EQ(Say(Execute{}), "I");
  EXPECT_EQ(Say(Parse{.name = "", .sql = "SELECT 1; SELECT 2"}), "E:42601");
  Say(Sync{});
  EXPECT_EQ(Say(Bind{.statement = "nothing"}), "E:26000");
}

TEST_F(SessionTest, APortalGivesSoManyRowsAtATime) {
  Start();
  Prepare("SELECT * FROM range(5)");
  session_->Take(Execute{"", 2});
  EXPECT_TRUE(session_->MayBlock());
  EXPECT_EQ(Go(), "D D s");
  session_->Take(Execute{"", 2});
  EXPECT_FALSE(session_->MayBlock());
  EXPECT_EQ(Go(), "D D s");
  EXPECT_EQ(Say(Execute{"", 2}), "D C:SELECT 1");
  EXPECT_EQ(Cell(), "4");
  EXPECT_EQ(backend_.asked.size(), 1U);
}

TEST_F(SessionTest, AStatementIsDescribedBeforeItHasValues) {
  Start();
  Say(Parse{.name = "s", .sql = "SELECT $1::BIGINT AS a, $2 AS b"});
  EXPECT_EQ(Say(Describe{Target::kStatement, "s"}), "t T");
  ByteReader types(last_['t']);
  EXPECT_EQ(types.Int16(), 2);
  EXPECT_EQ(types.Int32(), static_cast<int>(oid::kInt8));
  EXPECT_EQ(types.Int32(), static_cast<int>(oid::kText));
  EXPECT_TRUE(backend_.asked.empty());
  // What was told to be a text is one, also in binary.
  Say(Bind{.statement = "s", .values = {"5", "x"}, .result_formats = {Format::kText, Format::kBinary}});
  EXPECT_EQ(Say(Execute{}), "D C:SELECT 1");
  EXPECT_EQ(Cell(), "5");
  EXPECT_EQ(Say(Describe{Target::kStatement, "nothing"}), "E:26000");
  Say(Sync{});
  Say(Parse{.name = "c", .sql = "BEGIN"});
  EXPECT_EQ(Say(Describe{Target::kStatement, "c"}), "t n");
}

TEST_F(SessionTest, KeepsNoMoreThanItMay) {
  Start();
  for (std::size_t i = 0; i < kStatementsMax; ++i) Say(Parse{.name = std::to_string(i), .sql = "SELECT 1"});
  EXPECT_EQ(Say(Parse{.name = "more", .sql = "SELECT 1"}), "E:53400");
  Say(Sync{});
  EXPECT_EQ(Say(Query{"DEALLOCATE \"5\""}), "C:DEALLOCATE Z:I");
  EXPECT_EQ(Say(Parse{.name = "more", .sql = "SELECT 1"}), "1");
  EXPECT_EQ(Say(Parse{.name = "more", .sql = "SELECT 1"}), "E:42P05");
  Say(Sync{});
  for (std::size_t i = 0; i < kPortalsMax; ++i) Say(Bind{.portal = std::to_string(i), .statement = "more"});
  EXPECT_EQ(Say(Bind{.portal = "more", .statement = "more"}), "E:53400");
  Say(Sync{});
  EXPECT_EQ(Say(Query{"DEALLOCATE ALL"}), "C:DEALLOCATE ALL Z:I");
  EXPECT_EQ(Say(Parse{.name = "", .sql = "SELECT '" + std::string(kKeptBytesMax, 'x') + "'"}), "E:53400");
}

TEST_F(SessionTest, WhoHasLeftAsksNothingMore) {
  Start();
  session_->Cancel();
  EXPECT_EQ(Say(Query{"SELECT 1"}), "T D C:SELECT 1 Z:I") << "a cancel that comes between two statements ends none";
  session_->Leave();
  EXPECT_EQ(Say(Query{"SELECT 1"}), "E:57014 Z:I");
}

TEST_F(SessionTest, ATimeoutEndsAStatement) {
  Start();
  Say(Query{"SET statement_timeout = 20"});
  EXPECT_EQ(Say(Query{"SELECT sum(range) FROM range(1000000000000000)"}), "E:57014 Z:I");
  Say(Query{"RESET ALL"});
  context_->query_timeout = std::chrono::milliseconds(20);
  EXPECT_EQ(Say(Query{"SELECT sum(range) FROM range(1000000000000000)"}), "E:57014 Z:I");
}

TEST_F(SessionTest, ALargeAnswerComesInPieces) {
  Start();
  session_->Take(Query{"SELECT repeat('x', 1000) FROM range(1000)"});
  int blocking = 0;
  std::size_t most = 0;
  std::size_t all = 0;
  for (auto next = Session::Next::kMore; next == Session::Next::kMore;) {
    std::string piece;
    blocking += session_->MayBlock() ? 1 : 0;
    next = session_->Advance(piece);
    most = std::max(most, piece.size());
    all += piece.size();
  }
  EXPECT_GT(all, 1'000'000U);
  EXPECT_LT(most, kChunkBytes + 2000);
  EXPECT_FALSE(session_->MayBlock());
  EXPECT_EQ(blocking, 1) << "once it is there, an answer does not wait behind statements that wait for its memory";
}

}  // namespace
}  // namespace millrace::postgres
