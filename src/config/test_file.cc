#include "config/test_file.h"

#include <arrow/util/value_parsing.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <regex>
#include <set>
#include <string_view>

#include "base/json_text.h"
#include "config/config_internal.h"

namespace millrace::config {
namespace {

using Kind = ConfigNode::Kind;

TestPlace PlaceOf(const Place& place) { return {place.line, place.column}; }

TestValue ToValue(const ConfigNode& node) {
  TestValue value;
  value.place = PlaceOf(node.place);
  switch (node.kind) {
    case Kind::kNull:
      break;
    case Kind::kScalar:
      value.kind = TestValue::Kind::kScalar;
      value.text = node.text;
      break;
    case Kind::kSequence:
      value.kind = TestValue::Kind::kList;
      for (const auto& item : node.items) value.items.push_back(ToValue(item));
      break;
    case Kind::kMap:
      value.kind = TestValue::Kind::kMapping;
      for (const auto& entry : node.entries) value.entries.emplace_back(entry.key, ToValue(entry.value));
      break;
  }
  return value;
}

bool IsJsonNumber(const std::string& text) {
  static const std::regex kNumber(R"(-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?)");
  return text.size() <= 100 && std::regex_match(text, kNumber);
}

// The document as JSON: what is a number, true or false in JSON is that unless it was written in quotes, and all else
// is a text.
void AppendJson(const ConfigNode& node, std::string& out) {
  switch (node.kind) {
    case Kind::kNull:
      out += "null";
      break;
    case Kind::kScalar:
      if (!node.quoted && (node.text == "true" || node.text == "false" || IsJsonNumber(node.text))) {
        out += node.text;
      } else {
        AppendJsonString(node.text, out);
      }
      break;
    case Kind::kSequence:
      out += '[';
      for (const auto& item : node.items) {
        if (&item != &node.items.front()) out += ',';
        AppendJson(item, out);
      }
      out += ']';
      break;
    case Kind::kMap:
      out += '{';
      for (const auto& entry : node.entries) {
        if (&entry != &node.entries.front()) out += ',';
        AppendJsonString(entry.key, out);
        out += ':';
        AppendJson(entry.value, out);
      }
      out += '}';
      break;
  }
}

// RFC 4648, with its padding; blanks and line ends between are nothing.
std::optional<std::string> FromBase64(std::string_view text) {
  std::string bytes;
  std::uint32_t bits = 0;
  int digits = 0;
  int padding = 0;
  for (const char c : text) {
    if (c == ' ' || c == '\n' || c == '\r') continue;
    std::uint32_t digit = 0;
    if (c == '=') {
      ++padding;
    } else if (padding > 0) {
      return std::nullopt;
    } else if (c >= 'A' && c <= 'Z') {
      digit = static_cast<std::uint32_t>(c - 'A');
    } else if (c >= 'a' && c <= 'z') {
      digit = static_cast<std::uint32_t>(c - 'a') + 26;
    } else if (c >= '0' && c <= '9') {
      digit = static_cast<std::uint32_t>(c - '0') + 52;
    } else if (c == '+' || c == '/') {
      digit = c == '+' ? 62 : 63;
    } else {
      return std::nullopt;
    }
    bits = bits << 6 | digit;
    if (++digits % 4 != 0) continue;
    for (const int shift : {16, 8, 0}) bytes += static_cast<char>(bits >> shift & 0xFF);
    bits = 0;
  }
  if (digits % 4 != 0 || padding > 2) return std::nullopt;
  bytes.resize(bytes.size() - static_cast<std::size_t>(padding));
  return bytes;
}

// A text that may be empty, unlike those of a configuration; nullptr: absent, or not one.
const ConfigNode* AnyText(Section& section, const std::string& key) {
  const auto* node = section.Find(key);
  if (node == nullptr || node->kind == Kind::kScalar) return node;
  section.AddFinding(node->place,
                     fmt::format("{}.{} must be a single value, not {}", section.path(), key, KindName(*node)));
  return nullptr;
}

void ReadPayload(Section& section, TestRecord& record) {
  const auto* value = section.Find("value");
  const auto* text = AnyText(section, "value_text");
  const auto* base64 = AnyText(section, "value_base64");
  if ((value != nullptr) + (text != nullptr) + (base64 != nullptr) > 1) {
    section.AddFinding(section.place(), fmt::format("{}: give one of value, value_text and value_base64; none of them "
                                                    "is a record without a payload",
                                                    section.path()));
  }
  if (value != nullptr) AppendJson(*value, record.payload.emplace());
  if (text != nullptr) record.payload = text->text;
  if (base64 == nullptr) return;
  record.payload = FromBase64(base64->text);
  if (!record.payload) {
    section.AddFinding(base64->place, fmt::format("{}.value_base64 is not Base64 (RFC 4648)", section.path()));
  }
}

void ReadHeaders(Section& section, TestRecord& record) {
  const auto* headers = section.Find("headers");
  if (headers == nullptr) return;
  if (headers->kind != Kind::kMap) {
    section.AddFinding(headers->place, fmt::format("{}.headers must be a mapping (names with values), not {}",
                                                   section.path(), KindName(*headers)));
  }
  for (const auto& entry : headers->entries) {
    if (entry.value.kind == Kind::kNull) {
      record.headers.emplace_back(entry.key, std::nullopt);
    } else if (entry.value.kind == Kind::kScalar) {
      record.headers.emplace_back(entry.key, entry.value.text);
    } else {
      section.AddFinding(entry.value.place, fmt::format("{}.headers: '{}' must be a single value, not {}",
                                                        section.path(), entry.key, KindName(entry.value)));
    }
  }
}

TestRecord ReadRecord(Section& section) {
  TestRecord record;
  record.place = PlaceOf(section.place());
  std::string text;
  if (const auto* topic = section.Text("topic", text)) {
    record.topic = text;
    record.topic_place = PlaceOf(topic->place);
  }
  section.Int("partition", 0, INT32_MAX, record.partition);
  if (const auto* node = section.Text("offset", text)) {
    model::Offset offset = 0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), offset);
    // The offset after it is a number, too.
    if (error != std::errc() || rest != text.data() + text.size() || offset < 0 || offset == INT64_MAX) {
      section.AddFinding(node->place, fmt::format("{}.offset must be a whole number from 0 to {}, not '{}'",
                                                  section.path(), INT64_MAX - 1, text));
    }
    record.offset = offset;
  }
  if (const auto* node = section.Text("time", text)) {
    record.time = ParseRfc3339(text);
    if (!record.time) {
      section.AddFinding(node->place, fmt::format("{}.time: '{}' is not an RFC 3339 time with its zone, such as "
                                                  "2026-01-31T00:00:00Z",
                                                  section.path(), text));
    }
  }
  if (const auto* key = AnyText(section, "key")) record.key = key->text;
  ReadHeaders(section, record);
  ReadPayload(section, record);
  section.Finish();
  return record;
}

void ReadRows(const ConfigNode& list, const std::string& path, ReadContext& context, ExpectedRows& expected) {
  if (list.kind != Kind::kSequence) {
    context.findings.Add(list.place, fmt::format("{} must be a list of rows, {{rows: [...]}} or {{match: contains, "
                                                 "rows: [...]}}, not {}",
                                                 path, KindName(list)));
    return;
  }
  if (list.items.size() > kTestRowsMax) {
    context.findings.Add(list.place, fmt::format("{} has {} rows, {} are allowed: a test should be small enough to be "
                                                 "read",
                                                 path, list.items.size(), kTestRowsMax));
    return;
  }
  for (const auto& item : list.items) {
    if (item.kind != Kind::kMap) {
      context.findings.Add(
          item.place, fmt::format("{}: a row must be a mapping (columns with values), not {}", path, KindName(item)));
      continue;
    }
    expected.rows.push_back(ToValue(item));
  }
}

// A list of rows, or a mapping with the list and how it is to be taken.
ExpectedRows ReadExpected(const ConfigNode& node, const std::string& name, const std::string& path,
                          ReadContext& context) {
  ExpectedRows expected{.name = name, .place = PlaceOf(node.place)};
  if (node.kind != Kind::kMap) {
    ReadRows(node, path, context, expected);
    return expected;
  }
  Section section(node, path, context);
  section.Choice<bool>("match", {{"exactly", false}, {"contains", true}}, expected.contains);
  if (const auto* rows = section.Require("rows")) ReadRows(*rows, path + ".rows", context, expected);
  section.Finish();
  return expected;
}

std::vector<ExpectedRows> ReadExpectedByName(Section& expect, const std::string& key) {
  std::vector<ExpectedRows> all;
  const auto* node = expect.Find(key);
  if (node == nullptr) return all;
  const std::string path = expect.path() + "." + key;
  if (node->kind != Kind::kMap) {
    expect.AddFinding(node->place,
                      fmt::format("{} must be a mapping (names with rows), not {}", path, KindName(*node)));
  }
  for (const auto& entry : node->entries) {
    auto expected = ReadExpected(entry.value, entry.key, path + "." + entry.key, expect.context());
    expected.place = PlaceOf(entry.place);
    all.push_back(std::move(expected));
  }
  return all;
}

PipelineTest ReadTest(Section& section) {
  PipelineTest test;
  test.place = PlaceOf(section.place());
  section.RequireText("name", test.name);
  auto records = section.Children("records");
  if (section.Require("records") != nullptr && records.size() > kTestRecordsMax) {
    section.AddFinding(section.place(), fmt::format("{} has {} records, {} are allowed: a test should be small enough "
                                                    "to be read",
                                                    section.path(), records.size(), kTestRecordsMax));
    records.clear();
  }
  for (auto& record : records) test.records.push_back(ReadRecord(record));

  section.Require("expect");
  auto expect = section.Child("expect");
  test.tables = ReadExpectedByName(expect, "tables");
  test.aggregates = ReadExpectedByName(expect, "aggregates");
  test.dead_letters.place = test.place;
  if (const auto* letters = expect.Find("dead_letters")) {
    test.dead_letters = ReadExpected(*letters, "", expect.path() + ".dead_letters", expect.context());
  }
  std::string error;
  if (expect.Text("error", error) != nullptr) test.error = error;
  if (expect.exists() && !expect.Has("tables") && !expect.Has("aggregates") && !expect.Has("dead_letters") &&
      !expect.Has("error")) {
    section.AddFinding(expect.place(), fmt::format("{} expects nothing: name some of tables, aggregates, dead_letters "
                                                   "and error",
                                                   expect.path()));
  }
  if (test.error && (expect.Has("tables") || expect.Has("aggregates") || expect.Has("dead_letters"))) {
    section.AddFinding(
        expect.place(),
        fmt::format("{}: a pipeline that stops has no rows to look at; error stands alone", expect.path()));
  }
  expect.Finish();
  section.Finish();
  return test;
}

// By a file's name, as a registry would have its text.
std::optional<ingest::SchemaLanguage> LanguageOfFile(const std::filesystem::path& file) {
  if (file.extension() == ".avsc") return ingest::SchemaLanguage::kAvro;
  if (file.extension() == ".proto") return ingest::SchemaLanguage::kProtobuf;
  if (file.extension() == ".json") return ingest::SchemaLanguage::kJson;
  return std::nullopt;
}

void ReadSchemas(Section& root, const std::string& path, std::vector<StandInSchema>& schemas) {
  const auto* node = root.Find("schemas");
  if (node == nullptr) return;
  if (node->kind != Kind::kMap) {
    root.AddFinding(node->place, "schemas must be a mapping of subjects to files, such as {clicks-value: click.avsc}");
    return;
  }
  for (const auto& entry : node->entries) {
    const ConfigNode& value = entry.value;
    const auto language = LanguageOfFile(value.text);
    if (value.kind != Kind::kScalar || !language) {
      root.AddFinding(value.place,
                      fmt::format("schemas.{} must be a file that ends in .avsc (Avro), .proto (Protobuf) or "
                                  ".json (JSON Schema), not '{}'",
                                  entry.key, value.text));
      continue;
    }
    std::vector<Finding> faults;
    const auto file = (std::filesystem::path(path).parent_path() / value.text).string();
    auto text = ReadConfigText(file, faults);
    for (const auto& fault : faults) {
      root.AddFinding(value.place, fmt::format("schemas.{}: '{}': {}", entry.key, file, fault.message));
    }
    if (!text) continue;
    if (text->size() > ingest::kMaxSchemaBytes) {
      root.AddFinding(value.place, fmt::format("schemas.{}: '{}' has {} bytes, more than {}", entry.key, file,
                                               text->size(), ingest::kMaxSchemaBytes));
      continue;
    }
    const auto id = static_cast<std::uint32_t>(schemas.size() + 1);
    schemas.push_back({entry.key, id, {.language = *language, .text = *std::move(text)}});
  }
}

}  // namespace

LoadedTestFile LoadTestText(const std::string& text, const std::string& path) {
  LoadedTestFile loaded;
  loaded.file.path = path;
  ReadContext context;
  const auto document = ParseConfigTree(text, path, context.findings);
  if (context.findings.empty() || document.kind != Kind::kNull) {
    Section root(document, "", context);
    std::string pipeline;
    if (const auto* node = root.RequireText("pipeline", pipeline)) {
      loaded.file.pipeline = (std::filesystem::path(path).parent_path() / pipeline).string();
      loaded.file.pipeline_place = PlaceOf(node->place);
    }
    ReadSchemas(root, path, loaded.file.schemas);
    std::set<std::string> names;
    for (auto& section : root.Children("tests")) {
      auto test = ReadTest(section);
      if (!test.name.empty() && !names.insert(test.name).second) {
        root.AddFinding(section.place(), fmt::format("there are two tests called '{}'", test.name));
      }
      loaded.file.tests.push_back(std::move(test));
    }
    root.Require("tests");
    root.Finish();
  }
  loaded.findings = context.findings.Sorted();
  return loaded;
}

LoadedTestFile LoadTestFile(const std::string& path) {
  LoadedTestFile loaded;
  const auto text = ReadConfigText(path, loaded.findings);
  return text ? LoadTestText(*text, path) : loaded;
}

}  // namespace millrace::config
