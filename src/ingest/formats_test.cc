// The table of formats, and what every one of them promises: a row here that does not is found at once.
#include "ingest/formats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "ingest/decoder_testing_internal.h"
#include "ingest/event_decoder.h"
#include "ingest/records/test_container.h"
#include "testing/status_matchers.h"

namespace millrace::ingest {
namespace {

using ::testing::HasSubstr;

ColumnSpec Column(std::string name) { return {.name = std::move(name), .type = arrow::utf8()}; }

// Of events with a text `a`, in each format that can have one.
const std::map<std::string_view, SchemaSpec> kSchemas = {
    {"json",
     {.file = "a.json", .bytes = std::make_shared<const std::string>(R"({"properties":{"a":{"type":"string"}}})")}},
    {"avro",
     {.file = "a.avsc",
      .bytes = std::make_shared<const std::string>(
          R"({"type":"record","name":"A","fields":[{"name":"a","type":"string"}]})")}},
    {"protobuf",
     {.file = "a.proto",
      .message = "A",
      .bytes = std::make_shared<const std::string>("syntax = \"proto3\"; message A { string a = 1; }")}}};

// Payloads of each kind of records with documents that are good and bad, for the column `a`.
std::vector<std::string> SeveralOf(const DecodeSpec& spec) {
  switch (spec.records) {
    case Records::kArray:
      return {R"([{"a":"1"},{"a":2},{"a":"3"}])", "[]", R"([{"a":"1"})", R"([[{}]])"};
    case Records::kLines:
      if (spec.format == "json") return {"{\"a\":\"1\"}\n{\n{\"a\":\"3\"}\n", "", "\n", "{\"a\":\"4\"}"};
      return {"1\n\xFF\n3\n", "", "\n", "4"};
    case Records::kContainer:
      return {
          avro::Container("deflate", *spec.schema->bytes, {{avro::Text("1"), avro::Text("\xFF")}, {avro::Text("3")}}),
          avro::Container("null", *spec.schema->bytes, {}), avro::Container("null", "1", {}), "Obj"};
    case Records::kOne:
      break;
  }
  return {};
}

DecodeSpec SpecOf(const Format& format, std::vector<ColumnSpec> columns) {
  DecodeSpec spec{.format = std::string(format.name), .columns = std::move(columns)};
  if (format.schema != SchemaUse::kNone) spec.schema = kSchemas.at(format.name);
  return spec;
}

TEST(Formats, EachHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (const Format& format : Formats()) EXPECT_TRUE(names.insert(format.name).second) << format.name;
  EXPECT_TRUE(names.contains(DecodeSpec().format));
}

TEST(Formats, WhatIsNotThereIsNamed) {
  const auto made = MakeDecoder({.format = "jsno", .columns = {Column("a")}});
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, made);
  EXPECT_THAT(made.status().message(), HasSubstr("there is no format 'jsno'; did you mean 'json'?"));
}

TEST(Formats, SchemaAndFramingAreOfThoseThatTheFormatHas) {
  const auto bytes = std::make_shared<const std::string>("{}");
  for (const Format& format : Formats()) {
    SCOPED_TRACE(format.name);
    EXPECT_EQ(format.columns_of_schema == nullptr, format.schema == SchemaUse::kNone);
    EXPECT_FALSE(format.framings.empty());
    const DecodeSpec spec = SpecOf(format, {Column("a")});
    std::vector<DecodeSpec> refused;
    if (format.schema == SchemaUse::kNone) {
      refused.assign(1, spec);
      refused[0].schema = kSchemas.begin()->second;
    } else {
      MILLRACE_ASSERT_OK(MakeDecoder(spec).status());
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto columns, format.columns_of_schema(spec));
      ASSERT_EQ(columns.size(), 1u);
      EXPECT_EQ(columns[0].name, "a");
      EXPECT_TRUE(columns[0].type->Equals(*arrow::utf8()));
      refused.assign(2, spec);
      refused[0].schema->bytes = nullptr;
      refused[1].schema->message = spec.schema->message.empty() ? "m" : "";
      DecodeSpec without = spec;
      without.schema.reset();
      if (format.schema == SchemaUse::kColumns) {
        MILLRACE_ASSERT_OK(MakeDecoder(without).status());
      } else {
        refused.push_back(without);
      }
    }
    for (const Framing framing : {Framing::kNone, Framing::kConfluent, Framing::kSingleObject}) {
      if (std::find(format.framings.begin(), format.framings.end(), framing) != format.framings.end()) continue;
      refused.push_back(spec);
      refused.back().framing = framing;
      EXPECT_THAT(MakeDecoder(refused.back()).status().message(), HasSubstr(FramingName(framing)));
    }
    for (const DecodeSpec& one : refused) MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, MakeDecoder(one));
  }
}

TEST(Formats, NamesOfColumnsAreCheckedForAll) {
  struct Case {
    DecodeSpec spec;
    const char* message;
  };
  std::vector<ColumnSpec> many;
  for (int i = 0; i <= 10'000; ++i) many.push_back(Column(std::to_string(i)));
  const Case cases[] = {
      {{.columns = {Column("")}}, "a column has no name"},
      {{.columns = {Column("a"), Column("a")}}, "column 'a': the name is taken"},
      {{.columns = {Column("_offset")}}, "column '_offset': the name is taken"},
      {{.columns = {Column("_rescued")}, .unknown_fields = UnknownFields::kRescue},
       "column '_rescued': the name is taken"},
      {{.columns = {Column("_rescued")}, .unknown_fields = UnknownFields::kAdd},
       "column '_rescued': the name is taken"},
      {{.columns = many}, "10001 columns"},
  };
  for (const Format& format : Formats()) {
    for (const Case& c : cases) {
      SCOPED_TRACE(fmt::format("{}: {}", format.name, c.message));
      DecodeSpec spec = SpecOf(format, c.spec.columns);
      spec.unknown_fields = c.spec.unknown_fields;
      const auto made = EventDecoder::Make(spec);
      MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, made);
      EXPECT_THAT(made.status().message(), HasSubstr(c.message));
    }
    DecodeSpec spec = SpecOf(format, {Column("_rescued")});
    if (format.schema != SchemaUse::kNone) spec.columns[0].path = {"a"};
    MILLRACE_ASSERT_OK(MakeDecoder(spec).status());
  }
}

// Whatever comes is a sound row or a dead letter that holds it.
TEST(Formats, EachAccountsForWhateverBytesCome) {
  std::mt19937_64 random(14);
  std::vector<std::string> documents = {"", "{}", "[]", "a", R"({"a":"b"})", "a,b\n", std::string(5, '\0')};
  for (int i = 0; i < 500; ++i) {
    std::string& document = documents.emplace_back(random() % 64, '\0');
    for (char& c : document) c = static_cast<char>(random());
  }
  for (const Format& format : Formats()) {
    SCOPED_TRACE(format.name);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto decoder, EventDecoder::Make(SpecOf(format, {Column("a")})));
    for (int round = 0; round < 2; ++round) {
      const Decoded decoded = DecodeAll(*decoder, documents);
      MILLRACE_ASSERT_OK(decoded.rows->ValidateFull());
      EXPECT_TRUE(decoded.rows->schema()->Equals(*EventSchema({.columns = {Column("a")}})));
      EXPECT_EQ(decoded.rows->num_rows() + std::ssize(decoded.dead_letters), std::ssize(documents));
      for (const model::DeadLetter& letter : decoded.dead_letters) {
        EXPECT_EQ(letter.payload, documents[static_cast<std::size_t>(letter.offset)]);
        EXPECT_NE(letter.reason, "");
        EXPECT_NE(letter.detail, "");
      }
      std::shuffle(documents.begin(), documents.end(), random);
    }
  }
}

TEST(Formats, RecordsAreOfThoseThatTheFormatHas) {
  for (const Format& format : Formats()) {
    SCOPED_TRACE(format.name);
    EXPECT_EQ(format.records.front(), Records::kOne);
    EXPECT_EQ(format.make_splitter == nullptr, format.records.size() == 1);
    for (const Records records : {Records::kArray, Records::kLines, Records::kContainer}) {
      DecodeSpec spec = SpecOf(format, {Column("a")});
      spec.records = records;
      const auto made = EventDecoder::Make(spec);
      if (std::find(format.records.begin(), format.records.end(), records) != format.records.end()) {
        MILLRACE_ASSERT_OK(made.status());
        spec.columns = {Column("_index")};
        EXPECT_THAT(EventDecoder::Make(spec).status().message(), HasSubstr("column '_index': the name is taken"));
      } else {
        MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, made);
        EXPECT_THAT(made.status().message(),
                    HasSubstr(fmt::format("{} has no records '{}', but one", format.name, RecordsName(records))));
      }
    }
  }
}

// Every document is one row or one letter, at its place; a letter alone says again what it said, and a whole record
// does not.
TEST(Formats, EachTakesRecordsApartAndItsLettersStandAlone) {
  std::mt19937_64 random(15);
  for (const Format& format : Formats()) {
    for (const Records records : format.records.subspan(1)) {
      SCOPED_TRACE(fmt::format("{}: {}", format.name, RecordsName(records)));
      DecodeSpec spec = SpecOf(format, {Column("a")});
      spec.records = records;
      spec.compression = Compression::kAuto;
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto decoder, EventDecoder::Make(spec));
      std::vector<std::string> payloads = SeveralOf(spec);
      const Decoded first = DecodeAll(*decoder, {payloads[0]});
      EXPECT_EQ(first.rows->num_rows(), 2);
      EXPECT_EQ(first.dead_letters.size(), 1u);
      EXPECT_EQ(DecodeAll(*decoder, {payloads[1]}).tombstones, 1);
      payloads.push_back(Pack(Packing::kGzip, payloads[0]));
      for (int i = 0; i < 500; ++i) {  // Damaged ones.
        std::string& payload = payloads.emplace_back(payloads[random() % 5]);
        for (int flips = static_cast<int>(random() % 3); flips >= 0 && !payload.empty(); --flips) {
          payload[random() % payload.size()] ^= static_cast<char>(1 << random() % 8);
        }
      }
      const Decoded decoded = DecodeAll(*decoder, payloads);
      MILLRACE_ASSERT_OK(decoded.rows->ValidateFull());
      EXPECT_TRUE(decoded.rows->schema()->Equals(*EventSchema(spec)));
      EXPECT_EQ(std::ssize(payloads) + decoded.further,
                decoded.rows->num_rows() + std::ssize(decoded.dead_letters) + decoded.tombstones);
      std::set<std::pair<std::int64_t, std::int64_t>> places;
      for (std::int64_t row = 0; row < decoded.rows->num_rows(); ++row) {
        EXPECT_TRUE(places
                        .emplace(std::stol(CellText(*decoded.rows->GetColumnByName("_offset"), row)),
                                 std::stol(CellText(*decoded.rows->GetColumnByName("_index"), row)))
                        .second);
      }
      for (const model::DeadLetter& letter : decoded.dead_letters) {
        EXPECT_TRUE(places.emplace(letter.offset, letter.index).second);
        if (letter.index == model::kWholeRecord) {
          EXPECT_EQ(letter.payload, payloads[static_cast<std::size_t>(letter.offset)]);
        }
        model::FetchedRecords again;
        again.source = letter.source;
        again.records.emplace_back().payload = letter.payload;
        again.records.back().index = letter.index;
        MILLRACE_ASSERT_OK_AND_ASSIGN(const Decoded alone, decoder->Decode(again));
        ASSERT_EQ(alone.dead_letters.size(), 1u);
        EXPECT_EQ(alone.rows->num_rows(), 0);
        EXPECT_EQ(alone.dead_letters[0].index, letter.index);
        EXPECT_EQ(alone.dead_letters[0].payload, letter.payload);
        EXPECT_EQ(alone.dead_letters[0].reason, letter.reason);
      }
    }
  }
}

}  // namespace
}  // namespace millrace::ingest
