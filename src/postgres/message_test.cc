// The protocol's bytes: what clients send reads back, hostile bytes are refused, and what we say has its form.
#include "postgres/message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "testing/status_matchers.h"

namespace millrace::postgres {
namespace {

using ::testing::ElementsAre;
using ::testing::Optional;

std::string Framed(char type, std::string content) {
  std::string bytes(1, type);
  AppendInt32(bytes, static_cast<std::int32_t>(content.size() + 4));
  return bytes + content;
}

std::string First(std::int32_t code, const std::string& content = "") {
  std::string bytes;
  AppendInt32(bytes, static_cast<std::int32_t>(content.size() + 8));
  AppendInt32(bytes, code);
  return bytes + content;
}

std::string Text(std::string_view text) { return std::string(text) + '\0'; }

std::string Int16(std::int16_t value) {
  std::string bytes;
  AppendInt16(bytes, value);
  return bytes;
}

std::string Int32(std::int32_t value) {
  std::string bytes;
  AppendInt32(bytes, value);
  return bytes;
}

const std::string kParse = Text("s") + Text("SELECT $1") + Int16(1) + Int32(23);
const std::string kBind =
    Text("p") + Text("s") + Int16(1) + Int16(1) + Int16(2) + Int32(2) + "ab" + Int32(-1) + Int16(1) + Int16(0);

TEST(PostgresMessage, AStartupSaysItsVersionAndSettings) {
  const auto bytes = First(3 << 16 | 2, Text("user") + Text("ada") + Text("database") + Text("clicks") + '\0');
  EXPECT_THAT(*FirstMessageBytes(bytes), Optional(bytes.size()));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto message, ReadFirstMessage(bytes));
  const auto& startup = std::get<Startup>(message);
  EXPECT_EQ(startup.minor_version, 2);
  EXPECT_THAT(startup.settings, ElementsAre(std::pair("user", "ada"), std::pair("database", "clicks")));
}

TEST(PostgresMessage, RequestsForTlsAndCancelsAreKnownByTheirCodes) {
  EXPECT_TRUE(std::holds_alternative<SslRequest>(*ReadFirstMessage(First(80877103))));
  EXPECT_TRUE(std::holds_alternative<GssRequest>(*ReadFirstMessage(First(80877104))));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto message, ReadFirstMessage(First(80877102, Int32(7) + Int32(-2))));
  EXPECT_EQ(std::get<CancelRequest>(message).process, 7U);
  EXPECT_EQ(std::get<CancelRequest>(message).secret, 0xFFFFFFFEU);
}

TEST(PostgresMessage, AnotherMajorVersionIsNotSpoken) {
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, ReadFirstMessage(First(2 << 16, std::string(1, '\0'))).status());
}

TEST(PostgresMessage, AnExtendedQueryReads) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto parse, ReadMessage(Framed('P', kParse)));
  EXPECT_EQ(std::get<Parse>(parse).sql, "SELECT $1");
  EXPECT_THAT(std::get<Parse>(parse).parameter_types, ElementsAre(23U));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto bind, ReadMessage(Framed('B', kBind)));
  EXPECT_THAT(std::get<Bind>(bind).values, ElementsAre(Optional(std::string("ab")), std::nullopt));
  EXPECT_THAT(std::get<Bind>(bind).parameter_formats, ElementsAre(Format::kBinary));
  EXPECT_THAT(std::get<Bind>(bind).result_formats, ElementsAre(Format::kText));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto execute, ReadMessage(Framed('E', Text("p") + Int32(100))));
  EXPECT_EQ(std::get<Execute>(execute).rows_max, 100);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto describe, ReadMessage(Framed('D', "P" + Text("p"))));
  EXPECT_EQ(std::get<Describe>(describe).target, Target::kPortal);
}

TEST(PostgresMessage, LengthsThatCannotBeAreRefusedBeforeAnythingIsHeld) {
  EXPECT_EQ(*MessageBytes("Q\0\0", 100), std::nullopt);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, MessageBytes("Q" + Int32(3), 100).status());
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, MessageBytes("Q" + Int32(-1), 100).status());
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, MessageBytes("Q" + Int32(101), 100).status());
  EXPECT_THAT(*MessageBytes("Q" + Int32(100), 100), Optional(101U));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, FirstMessageBytes(Int32(7)).status());
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, FirstMessageBytes(Int32(10'001)).status());
}

// Whatever is cut off, and wherever a byte is another one: a message or a refusal, and no read beyond the bytes, which
// the sanitizers would show.
TEST(PostgresMessage, HostileBytesAreAMessageOrRefused) {
  const std::vector<std::string> messages = {Framed('P', kParse),
                                             Framed('B', kBind),
                                             Framed('Q', Text("SELECT 1")),
                                             Framed('E', Text("") + Int32(0)),
                                             Framed('D', "S" + Text("s")),
                                             Framed('C', "P" + Text("p")),
                                             Framed('p', Text("SCRAM-SHA-256") + Int32(3) + "n,,")};
  for (const auto& whole : messages) {
    for (std::size_t size = 0; size < whole.size(); ++size) {
      if (whole[0] == 'p') continue;  // Its content is read later.
      MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, ReadMessage(std::string_view(whole).substr(0, size)).status());
    }
  }
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = messages[random() % messages.size()];
    for (int changes = 0; changes < 3; ++changes) bytes[random() % bytes.size()] = static_cast<char>(random());
    static_cast<void>(ReadMessage(bytes));
    static_cast<void>(ReadFirstMessage(std::string_view(bytes).substr(1)));
    static_cast<void>(ReadSaslInitial(bytes));
    static_cast<void>(ReadPassword(bytes));
  }
}

TEST(PostgresMessage, ManyValuesThatAreNotThereAreRefused) {
  const auto bind = Text("") + Text("") + Int16(0) + Int16(32767) + Int32(2'000'000'000);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, ReadMessage(Framed('B', bind)).status());
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput,
                       ReadMessage(Framed('B', Text("") + Text("") + Int16(-1) + Int16(0) + Int16(0))).status());
}

TEST(PostgresReplies, ARowHasItsCellsWithTheirLengths) {
  std::string out;
  Replies replies(out);
  replies.BeginRow(2);
  replies.NullCell();
  replies.BeginCell();
  replies.out() += "ab";
  replies.EndCell();
  replies.EndRow();
  EXPECT_EQ(out, Framed('D', Int16(2) + Int32(-1) + Int32(2) + "ab"));
}

TEST(PostgresReplies, AnErrorHasItsCodeHintAndPosition) {
  std::string out;
  Replies(out).Error({.code = sql_state::kSyntax, .message = "no", .hint = "yes", .position = 8});
  EXPECT_EQ(out, Framed('E', Text("SERROR") + Text("VERROR") + Text("C42601") + Text("Mno") + Text("Hyes") +
                                 Text("P8") + '\0'));
}

TEST(PostgresReplies, TextsEndAtANulThatIsInThem) {
  std::string out;
  Replies(out).CommandComplete(std::string_view("A\0B", 3));
  EXPECT_EQ(out, Framed('C', Text("A")));
}

TEST(PostgresSqlState, APlaceBecomesThePositionInCharacters) {
  const auto error =
      ErrorOf(InvalidInput("Binder Error: Referenced column \"x\" not found at line 2 column 4"), "SELECT 'ä',\n   x");
  EXPECT_EQ(error.code, sql_state::kUndefinedColumn);
  EXPECT_EQ(error.position, 16);
  EXPECT_EQ(ErrorOf(InvalidInput("no place"), "SELECT 1").position, 0);
  EXPECT_EQ(ErrorOf(InvalidInput("at line 9 column 1"), "SELECT 1").position, 0);
  EXPECT_EQ(ErrorOf(NotFound("t"), "").code, sql_state::kUndefinedTable);
  EXPECT_EQ(ErrorOf(Cancelled("c"), "").code, sql_state::kQueryCanceled);
}

}  // namespace
}  // namespace millrace::postgres
