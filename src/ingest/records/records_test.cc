// Records with several documents, through the whole of a decoder: rows with their index, letters of single documents,
// what is refused as a whole, and letters run again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "ingest/avro/test_avro_bytes.h"
#include "ingest/decoder_testing_internal.h"
#include "ingest/event_decoder.h"
#include "ingest/records/test_container.h"
#include "ingest/records/test_packing.h"
#include "testing/status_matchers.h"

namespace millrace::ingest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

DecodeSpec Json(Records records) { return {.columns = {{.name = "a", .type = arrow::int64()}}, .records = records}; }

// "offset.index cell|cell" of each row, then "offset.index reason payload" of each letter.
std::vector<std::string> Lines(const Decoded& decoded, const DecodeSpec& spec) {
  EXPECT_TRUE(decoded.rows->ValidateFull().ok());
  EXPECT_TRUE(decoded.rows->schema()->Equals(*EventSchema(spec)));
  const auto cells = RowTexts(*decoded.rows, DecodedSchema(spec)->num_fields());
  std::vector<std::string> lines;
  for (std::int64_t row = 0; row < decoded.rows->num_rows(); ++row) {
    lines.push_back(fmt::format("{}.{} {}", CellText(*decoded.rows->GetColumnByName("_offset"), row),
                                CellText(*decoded.rows->GetColumnByName("_index"), row),
                                cells[static_cast<std::size_t>(row)]));
  }
  for (const auto& letter : decoded.dead_letters) {
    lines.push_back(fmt::format("{}.{} {} {}", letter.offset, letter.index, letter.reason, letter.payload));
  }
  return lines;
}

std::vector<std::string> Lines(const DecodeSpec& spec, const std::vector<std::string>& payloads) {
  const auto decoder = EventDecoder::Make(spec).ValueOrDie();
  const Decoded decoded = DecodeAll(*decoder, payloads);
  EXPECT_EQ(static_cast<std::int64_t>(decoded.num_records) + decoded.further,
            decoded.rows->num_rows() + std::ssize(decoded.dead_letters) + decoded.tombstones);
  return Lines(decoded, spec);
}

TEST(JsonLines, EachIsARowAndABadOneALetterOfItsOwn) {
  EXPECT_THAT(Lines(Json(Records::kLines), {"{\"a\":1}\n{\"a\":\"x\"}\r\n\n{\"a\":3}", "{\"a\":4}\n"}),
              ElementsAre("0.0 1", "0.2 3", "1.0 4", "0.1 type_mismatch {\"a\":\"x\"}"));
}

TEST(JsonLines, ALineThatIsCutOffDoesNotHarmTheOthers) {
  EXPECT_THAT(Lines(Json(Records::kLines), {"{\"a\":\n{\"a\":2}"}), ElementsAre("0.1 2", "0.0 bad_json {\"a\":"));
}

TEST(JsonArray, EachElementIsADocumentWithTheBytesThatItHas) {
  EXPECT_THAT(Lines(Json(Records::kArray), {" [ {\"a\" : 1} , {\"a\":\"x\"}, 7, {\"a\":4}]\n", "[{\"a\":5}]"}),
              ElementsAre("0.0 1", "0.3 4", "1.0 5", "0.1 type_mismatch {\"a\":\"x\"}", "0.2 not_object 7"));
}

TEST(JsonArray, WhatIsNoArrayIsALetterOfTheRecord) {
  const std::vector<std::pair<std::string, std::string>> cases = {{"", "empty_payload"},
                                                                  {"{\"a\":1}", "not_array"},
                                                                  {"null", "not_array"},
                                                                  {"[{\"a\":1}", "bad_json"},
                                                                  {"[{\"a\":1},]", "bad_json"},
                                                                  {"[,]", "bad_json"},
                                                                  {"[1]]", "bad_json"},
                                                                  {"[{\"a\":1} {\"a\":2}]", "bad_json"},
                                                                  {"[", "bad_json"},
                                                                  {"[tru]", "bad_json"},
                                                                  {std::string("[\0]", 3), "bad_json"},
                                                                  {std::string(1025, '['), "too_deep"}};
  for (const auto& [payload, reason] : cases) {
    EXPECT_THAT(Lines(Json(Records::kArray), {payload}), ElementsAre(fmt::format("0.-1 {} {}", reason, payload)));
  }
}

TEST(RecordsOfDocuments, OneWithoutADocumentIsATombstone) {
  for (const auto& [records, payload] : {std::pair(Records::kArray, " [ ] "), {Records::kLines, "\n\r\n\n"}}) {
    const auto decoder = EventDecoder::Make(Json(records)).ValueOrDie();
    const Decoded decoded = DecodeAll(*decoder, {payload});
    EXPECT_EQ(decoded.tombstones, 1);
    EXPECT_EQ(decoded.further, 0);
    EXPECT_EQ(decoded.rows->num_rows(), 0);
    EXPECT_THAT(decoded.dead_letters, IsEmpty());
  }
}

TEST(CsvLines, AQuotedLineBreakIsOfTheField) {
  DecodeSpec spec{.format = "csv",
                  .columns = {{.name = "s", .type = arrow::utf8()}, {.name = "n", .type = arrow::int64()}},
                  .records = Records::kLines};
  EXPECT_THAT(Lines(spec, {"a,1\r\n\"b\n\"\"c\",2\n\nx,y\nd\"e,5"}),
              ElementsAre("0.0 'a'|1", "0.1 'b\n\"c'|2", "0.3 'd\"e'|5", "0.2 type_mismatch x,y"));
  EXPECT_THAT(Lines(spec, {"\"a,1\nb,2\nc,3"}), ElementsAre("0.1 'b'|2", "0.2 'c'|3", "0.0 bad_csv \"a,1"));
  spec.csv.escape = '\\';
  EXPECT_THAT(Lines(spec, {"\"a\\\"\n\",1\nb,2"}), ElementsAre("0.0 'a\"\n'|1", "0.1 'b'|2"));
  spec.csv.quote = std::nullopt;
  EXPECT_THAT(Lines(spec, {"\"a,1\nb\",2"}), ElementsAre("0.0 '\"a'|1", "0.1 'b\"'|2"));
}

TEST(RawLines, EachIsARow) {
  const DecodeSpec spec{
      .format = "raw", .columns = {{.name = "line", .type = arrow::utf8()}}, .records = Records::kLines};
  EXPECT_THAT(Lines(spec, {"a\nb \xFF\r\n c"}), ElementsAre("0.0 'a'", "0.2 ' c'", "0.1 bad_utf8 b \xFF"));
}

// ---- Avro -------------------------------------------------------------------------------------------------------

const std::string kWriter = avro::Record(R"({"name":"n","type":"int"},{"name":"s","type":"string"})");
const std::string kReader =
    avro::Record(R"({"name":"s","type":"string"},{"name":"n","type":"long"},{"name":"d","type":"int","default":7})");

DecodeSpec Container() {
  DecodeSpec spec = avro::SpecOf(kReader, {{.name = "s", .type = arrow::utf8()},
                                           {.name = "n", .type = arrow::int64()},
                                           {.name = "d", .type = arrow::int64()}});
  spec.records = Records::kContainer;
  return spec;
}

std::string Value(int n, std::string_view s) { return avro::Long(n) + avro::Text(s); }

TEST(AvroContainer, ValuesAreReadByTheFilesOwnSchemaWhateverItsCodec) {
  for (const char* codec : {"", "null", "deflate", "snappy", "zstandard"}) {
    SCOPED_TRACE(codec);
    const std::string file = avro::Container(codec, kWriter, {{Value(1, "a"), Value(-2, "")}, {}, {Value(3, "ccc")}});
    EXPECT_THAT(Lines(Container(), {file}), ElementsAre("0.0 'a'|1|7", "0.1 ''|-2|7", "0.2 'ccc'|3|7"));
  }
  // Another schema in the same batch.
  const std::string other = avro::Container("null", kReader, {{avro::Text("x") + avro::Long(9) + avro::Long(1)}});
  EXPECT_THAT(Lines(Container(), {avro::Container("null", kWriter, {{Value(1, "a")}}), other}),
              ElementsAre("0.0 'a'|1|7", "1.0 'x'|9|1"));
}

TEST(AvroContainer, ABadValueIsALetterThatIsAFileOfItAlone) {
  const auto decoder = EventDecoder::Make(Container()).ValueOrDie();
  const std::string file = avro::Container("deflate", kWriter, {{Value(1, "a"), Value(2, "\xFF"), Value(3, "c")}});
  const Decoded decoded = DecodeAll(*decoder, {file});
  EXPECT_EQ(decoded.rows->num_rows(), 2);
  ASSERT_EQ(decoded.dead_letters.size(), 1u);
  const auto letter = decoded.dead_letters[0];
  EXPECT_EQ(letter.reason, "bad_utf8");
  EXPECT_EQ(letter.index, 1);
  const Decoded alone = DecodeAll(*decoder, {letter.payload});
  ASSERT_EQ(alone.dead_letters.size(), 1u);
  EXPECT_EQ(alone.dead_letters[0].payload, letter.payload);
  EXPECT_EQ(alone.dead_letters[0].detail, letter.detail);
}

TEST(AvroContainer, AFileThatIsNoneIsALetterOfTheRecord) {
  const std::string good = avro::Container("null", kWriter, {{Value(1, "a"), Value(2, "b")}, {Value(3, "c")}});
  const auto problem = [](const std::string& payload) {
    const auto decoder = EventDecoder::Make(Container()).ValueOrDie();
    const Decoded decoded = DecodeAll(*decoder, {payload});
    EXPECT_EQ(decoded.rows->num_rows(), 0);
    if (decoded.dead_letters.size() != 1) return fmt::format("{} letters", decoded.dead_letters.size());
    EXPECT_EQ(decoded.dead_letters[0].index, model::kWholeRecord);
    EXPECT_EQ(decoded.dead_letters[0].payload, payload);
    return decoded.dead_letters[0].reason + ": " + decoded.dead_letters[0].detail;
  };
  EXPECT_THAT(problem(""), HasSubstr("empty_payload"));
  EXPECT_THAT(problem("PAR1"), HasSubstr("looks like Parquet"));
  EXPECT_THAT(problem(avro::Container("lzo", kWriter, {})), HasSubstr("codec 'lzo' is none of null, deflate"));
  EXPECT_THAT(problem(avro::Container("null", "{}", {})), HasSubstr("bad_container: its schema: "));
  EXPECT_THAT(problem(good + "x"), HasSubstr("bad_container: "));
  std::string other_sync = good;
  other_sync.back() ^= 1;
  EXPECT_THAT(problem(other_sync), HasSubstr("does not end with the file's sync marker"));
  EXPECT_THAT(problem(avro::ContainerOf("null", kWriter, {avro::Block(2, Value(1, "a"))})), HasSubstr("value 1: "));
  EXPECT_THAT(problem(avro::ContainerOf("null", kWriter, {avro::Block(1, Value(1, "a") + "x")})),
              HasSubstr("1 bytes are left behind its 1 values"));
  EXPECT_THAT(problem(avro::ContainerOf("null", kWriter, {avro::Block(-1, "")})), HasSubstr("has -1 values"));
  EXPECT_THAT(problem(avro::ContainerOf("deflate", kWriter, {avro::Block(1, "x")})),
              HasSubstr("bad_container: the block at byte "));
  std::string bad_checksum = avro::Container("snappy", kWriter, {{Value(1, "a")}});
  bad_checksum[bad_checksum.size() - avro::kSync.size() - 1] ^= 1;
  EXPECT_THAT(problem(bad_checksum), HasSubstr("checksum"));
  // A file may end behind its header and behind each block, and nowhere else.
  const std::size_t header = avro::Container("null", kWriter, {}).size();
  const std::size_t block = avro::Container("null", kWriter, {{Value(1, "a"), Value(2, "b")}}).size();
  for (std::size_t size = 1; size < good.size(); ++size) {
    if (size == header || size == block) continue;
    EXPECT_THAT(problem(good.substr(0, size)), HasSubstr("bad_container")) << size;
  }
}

TEST(AvroContainer, CountsAndSizesAreBounded) {
  const std::string empty = avro::Record("");
  const auto reason = [](const std::string& payload) {
    DecodeSpec spec = Container();
    spec.columns = {{.name = "d", .type = arrow::int64()}};
    const auto decoder = EventDecoder::Make(spec).ValueOrDie();
    const Decoded decoded = DecodeAll(*decoder, {payload});
    return decoded.dead_letters.empty() ? fmt::format("{} rows", decoded.rows->num_rows())
                                        : decoded.dead_letters[0].reason;
  };
  EXPECT_EQ(reason(avro::ContainerOf("null", empty, {avro::Block(std::int64_t{1} << 62, "")})), "too_many_documents");
  EXPECT_EQ(reason(avro::ContainerOf("null", empty, {avro::Block(kMaxDocuments, ""), avro::Block(1, "")})),
            "too_many_documents");
  const std::string zeros(kMaxPayloadBytes / 2 + 1, '\0');
  const auto packed = Pack(Packing::kDeflate, zeros);
  EXPECT_EQ(reason(avro::ContainerOf("deflate", empty, {avro::Block(0, packed), avro::Block(0, packed)})),
            "bad_container");  // Bytes without a value.
  const std::string text = avro::Text(std::string(kMaxPayloadBytes / 2, ' '));
  const auto packed_text = avro::Block(1, Pack(Packing::kDeflate, avro::Long(1) + text));
  EXPECT_EQ(reason(avro::ContainerOf("deflate", kWriter, {packed_text, packed_text})), "too_large");
}

// ---- What holds for all -----------------------------------------------------------------------------------------

TEST(RecordsOfDocuments, ALetterRunAgainIsThatDocumentAlone) {
  const auto decoder = EventDecoder::Make(Json(Records::kLines)).ValueOrDie();
  model::FetchedRecords records;
  records.source = {"t", 0};
  // Of one record, and of a whole one beside them.
  const std::vector<std::pair<std::string, std::int32_t>> letters = {
      {"{\"a\":1}", 3}, {"{\"a\":2}\n{\"a\":3}", 5}, {"{\"a\":4}\n{\"a\":5}", model::kWholeRecord}};
  for (const auto& [payload, index] : letters) {
    model::RawRecord& record = records.records.emplace_back();
    record.offset = index == model::kWholeRecord ? 8 : 7;
    record.payload = payload;
    record.index = index;
  }
  const Decoded decoded = decoder->Decode(records).ValueOrDie();
  EXPECT_THAT(Lines(decoded, Json(Records::kLines)),
              ElementsAre("7.3 1", "8.0 4", "8.1 5", "7.5 bad_json {\"a\":2}\n{\"a\":3}"));
  EXPECT_EQ(decoded.num_records, 3u);
  EXPECT_EQ(decoded.further, 1);
}

TEST(RecordsOfDocuments, TheirNumberIsBounded) {
  std::string array = "[";
  for (std::size_t i = 0; i < kMaxDocuments; ++i) array += "1,";
  const auto reason = [](Records records, const std::string& payload) {
    const auto decoder = EventDecoder::Make(Json(records)).ValueOrDie();
    const Decoded decoded = DecodeAll(*decoder, {payload});
    EXPECT_EQ(decoded.rows->num_rows(), 0);
    return fmt::format("{} {}", decoded.dead_letters.size(), decoded.dead_letters.back().reason);
  };
  const auto all = fmt::format("{} not_object", kMaxDocuments);
  EXPECT_EQ(reason(Records::kArray, array.substr(0, array.size() - 1) + "]"), all);
  EXPECT_EQ(reason(Records::kArray, array + "1]"), "1 too_many_documents");
  std::replace(array.begin(), array.end(), ',', '\n');
  EXPECT_EQ(reason(Records::kLines, array.substr(1)), all);
  EXPECT_EQ(reason(Records::kLines, array.substr(1) + "1"), "1 too_many_documents");
}

TEST(RecordsOfDocuments, AKeyIsNotCopiedWithoutEnd) {
  const auto decoder = EventDecoder::Make(Json(Records::kLines)).ValueOrDie();
  std::string payload;
  for (int i = 0; i < 1000; ++i) payload += "{}\n";
  for (const auto& [bytes, rows] : {std::pair(kMaxKeyBytes / 1000, 1000), {kMaxKeyBytes / 1000 + 1, 0}}) {
    const std::string key(bytes, 'k');
    model::FetchedRecords records;
    records.source = {"t", 0};
    records.records.emplace_back().payload = payload;
    records.records.back().key = key;
    const Decoded decoded = decoder->Decode(records).ValueOrDie();
    EXPECT_EQ(decoded.rows->num_rows(), rows);
    EXPECT_EQ(decoded.dead_letters.size(), rows == 0 ? 1u : 0u);
    for (const auto& letter : decoded.dead_letters) EXPECT_EQ(letter.reason, "too_large");
  }
}

TEST(RecordsOfDocuments, ABatchEndsWhereItHasEnough) {
  const DecodeSpec spec = Json(Records::kLines);
  const auto decoder = EventDecoder::Make(spec).ValueOrDie();
  std::string payload;
  for (int i = 0; i < 40'000; ++i) payload += fmt::format("{{\"a\":{}}}\n", i);
  model::FetchedRecords records;
  records.source = {"t", 0};
  for (int i = 0; i < 5; ++i) {
    records.records.emplace_back().payload = payload;
    records.records.back().offset = i;
  }
  std::vector<std::size_t> taken;
  std::int64_t rows = 0;
  for (std::size_t first = 0; first < 5; first += taken.back()) {
    const Decoded decoded = decoder->Decode(records, first).ValueOrDie();
    taken.push_back(decoded.num_records);
    rows += decoded.rows->num_rows();
    EXPECT_EQ(CellText(*decoded.rows->GetColumnByName("_offset"), 0), std::to_string(first));
  }
  EXPECT_THAT(taken, ElementsAre(2, 2, 1));
  EXPECT_EQ(rows, 200'000);
  // Documents of one record stay together.
  for (auto& record : records.records) record.offset = 7;
  EXPECT_EQ(decoder->Decode(records).ValueOrDie().num_records, 5u);
}

TEST(RecordsOfDocuments, ALetterOfARowHasItsOwnBytes) {
  const auto decoder = EventDecoder::Make(Json(Records::kLines)).ValueOrDie();
  const std::string payload = "{\"a\":1}\nno\n{\"a\":3}";
  model::FetchedRecords records;
  records.source = {"t", 0};
  records.records.emplace_back().payload = payload;
  MILLRACE_ASSERT_OK(decoder->Decode(records).status());
  const auto letter = decoder->LetterOf(records.source, {0, 2}, "table:t", "null_value", "a is null");
  EXPECT_EQ(letter.payload, "{\"a\":3}");
  EXPECT_EQ(letter.index, 2);
  EXPECT_EQ(letter.stage, "table:t");
}

// ---- Compression ------------------------------------------------------------------------------------------------

TEST(Compression, PackedPayloadsAreUnpackedAndOthersAreAsTheyAre) {
  DecodeSpec spec = Json(Records::kLines);
  spec.compression = Compression::kAuto;
  const std::string lines = "{\"a\":1}\n{\"a\":true}";
  EXPECT_THAT(Lines(spec, {Pack(Packing::kGzip, lines), lines, Pack(Packing::kZstd, lines)}),
              ElementsAre("0.0 1", "1.0 1", "2.0 1", "0.1 type_mismatch {\"a\":true}", "1.1 type_mismatch {\"a\":true}",
                          "2.1 type_mismatch {\"a\":true}"));
  // Unless somebody says so.
  spec.compression = Compression::kNone;
  const auto packed = Lines(spec, {Pack(Packing::kGzip, lines)});
  EXPECT_THAT(packed, ElementsAre(HasSubstr("bad_")));
}

TEST(Compression, WhatDoesNotUnpackIsALetterWithItsOriginalBytes) {
  DecodeSpec spec{.columns = {{.name = "a", .type = arrow::int64()}}, .compression = Compression::kAuto};
  const auto decoder = EventDecoder::Make(spec).ValueOrDie();
  const std::string bomb = Pack(Packing::kGzip, std::string(kMaxPayloadBytes + 1, ' '));
  const std::string most = Pack(Packing::kGzip, "{" + std::string(kMaxPayloadBytes - 2, ' ') + "}");
  const std::string cut = Pack(Packing::kZstd, "{\"a\":1}").substr(0, 12);
  const std::string wrong = Pack(Packing::kGzip, "{\"a\":\"x\"}");
  EXPECT_EQ(DecodeAll(*decoder, {most}).rows->num_rows(), 1);
  for (const auto& [payload, reason, detail] :
       {std::tuple(bomb, "too_large", "bytes of gzip unpack to more than 16777216"),
        std::tuple(cut, "bad_compression", "zstd: it is cut off"),
        std::tuple(wrong, "type_mismatch", "expected int64, found string \"x\"")}) {
    const Decoded decoded = DecodeAll(*decoder, {payload});
    ASSERT_EQ(decoded.dead_letters.size(), 1u);
    EXPECT_EQ(decoded.dead_letters[0].payload, payload);
    EXPECT_EQ(decoded.dead_letters[0].reason, reason);
    EXPECT_EQ(decoded.dead_letters[0].index, model::kWholeRecord);
    EXPECT_THAT(decoded.dead_letters[0].detail, HasSubstr(detail));
  }
}

TEST(Compression, ManyBombsAreTakenAFewAtATime) {
  DecodeSpec spec{.columns = {{.name = "a", .type = arrow::int64()}}, .compression = Compression::kAuto};
  const auto decoder = EventDecoder::Make(spec).ValueOrDie();
  const std::string bomb = Pack(Packing::kZstd, std::string(kMaxPayloadBytes, ' '));
  model::FetchedRecords records;
  records.source = {"t", 0};
  for (int i = 0; i < 8; ++i) {
    records.records.emplace_back().payload = bomb;
    records.records.back().offset = i;
  }
  const Decoded decoded = decoder->Decode(records).ValueOrDie();
  EXPECT_EQ(decoded.num_records, 1u);
  EXPECT_EQ(decoded.dead_letters.size(), 1u);
}

// ---- CloudEvents ------------------------------------------------------------------------------------------------

const std::vector<ColumnSpec> kAttributes = {{.name = "id", .type = arrow::utf8()},
                                             {.name = "type", .type = arrow::utf8()},
                                             {.name = "city", .type = arrow::utf8(), .path = {"data", "city"}}};

TEST(CloudEvents, StructuredAndBatchedAttributesAreFields) {
  const std::string event =
      R"({"specversion":"1.0","id":"7","source":"/s","type":"door.opened","data":{"city":"Ulm"}})";
  DecodeSpec spec{.columns = kAttributes};
  const auto one = EventDecoder::Make(spec).ValueOrDie();
  EXPECT_THAT(RowTexts(*DecodeAll(*one, {event}).rows, 3), ElementsAre("'7'|'door.opened'|'Ulm'"));
  spec.records = Records::kArray;
  EXPECT_THAT(Lines(spec, {"[" + event + "," + event + "]"}),
              ElementsAre("0.0 '7'|'door.opened'|'Ulm'", "0.1 '7'|'door.opened'|'Ulm'"));
}

TEST(CloudEvents, BinaryAttributesAreHeaders) {
  const DecodeSpec spec{.columns = {{.name = "id", .type = arrow::utf8(), .from = ParseRecordPlace("header.ce_id")},
                                    {.name = "at",
                                     .type = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"),
                                     .from = ParseRecordPlace("header.ce_time")},
                                    {.name = "city", .type = arrow::utf8()}}};
  const auto decoder = EventDecoder::Make(spec).ValueOrDie();
  model::FetchedRecords records;
  records.source = {"t", 0};
  records.records.emplace_back().payload = R"({"city":"Ulm"})";
  const model::RecordHeaders headers = {{"ce_specversion", "1.0"}, {"ce_id", "7"}, {"ce_time", "1970-01-01T00:00:01Z"}};
  records.records.back().SetHeaders(&headers);
  EXPECT_THAT(RowTexts(*decoder->Decode(records).ValueOrDie().rows, 3), ElementsAre("'7'|1000000|'Ulm'"));
}

}  // namespace
}  // namespace millrace::ingest
