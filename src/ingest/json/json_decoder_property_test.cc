// Promises about all documents, on random ones. Method: the generator knows the cells that its documents hold, whatever
// whitespace, escapes, order, repeated and unknown keys it writes them with; of damaged documents, simdjson's DOM
// parser says which are still JSON.
#include <arrow/array.h>
#include <gtest/gtest.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ingest/added_columns.h"
#include "ingest/decoder_testing_internal.h"
#include "ingest/event_decoder.h"
#include "testing/status_matchers.h"

namespace millrace::ingest {
namespace {

// A value of a column: how JSON writes it, and its CellText().
struct Value {
  std::string json;
  std::string cell;
};

struct Document {
  std::string text;
  std::string row;  // As RowTexts().
};

class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed) {
    const auto utc_micros = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
    const auto list = [](std::shared_ptr<arrow::DataType> type) {
      return arrow::list(arrow::field("element", std::move(type)));
    };
    const auto add = [&](std::vector<std::string> path, std::shared_ptr<arrow::DataType> type,
                         TimestampForm form = TimestampForm::kRfc3339) {
      spec_.columns.push_back({"c" + std::to_string(spec_.columns.size()), std::move(type), form, std::move(path)});
    };
    add({"text"}, arrow::utf8());
    add({"flag"}, arrow::boolean());
    add({"small"}, arrow::int32());
    add({"big"}, arrow::int64());
    add({"real"}, arrow::float64());
    add({"money"}, arrow::decimal128(12, 2));
    add({"wide"}, arrow::decimal128(38, 10));
    add({"day"}, arrow::date32());
    add({"ts"}, utc_micros);
    add({"s"}, utc_micros, TimestampForm::kSeconds);
    add({"ms"}, utc_micros, TimestampForm::kMillis);
    add({"us"}, utc_micros, TimestampForm::kMicros);
    add({"ns"}, utc_micros, TimestampForm::kNanos);
    add({"ms"}, arrow::decimal128(20, 3));  // A second column of that field: what it stores are microseconds too.
    add({"tags"}, list(arrow::utf8()));
    add({"marks"}, list(arrow::int64()));
    add({"flags"}, list(arrow::boolean()));
    add({"times"}, list(utc_micros));
    add({"geo", "city \u00e9"}, arrow::utf8());
    add({"geo", "lat"}, arrow::float64());
    add({"geo", "deep", "er"}, arrow::int64());
    add({"geo", "deep", "list"}, list(arrow::float64()));
  }

  const DecodeSpec& spec() const { return spec_; }
  std::uint64_t Below(std::uint64_t bound) { return random_() % bound; }
  bool OneIn(std::uint64_t n) { return Below(n) == 0; }

  Document Make() {
    spaced_ = OneIn(3);
    std::vector<std::size_t> columns(spec_.columns.size());
    for (std::size_t i = 0; i < columns.size(); ++i) columns[i] = i;
    cells_.assign(columns.size(), "null");
    Document document;
    document.text = Space() + Object(columns, 0) + Space();
    for (std::size_t i = 0; i < cells_.size(); ++i) document.row += (i == 0 ? "" : "|") + cells_[i];
    return document;
  }

 private:
  std::string Space() {
    std::string space;
    while (spaced_ && OneIn(2)) space += " \t\n\r"[Below(4)];
    return space;
  }

  // An object at `level` of the columns' paths. Writes their cells in the order of the text, so that the last one
  // stays.
  std::string Object(const std::vector<std::size_t>& columns, std::size_t level) {
    std::vector<std::string> keys;
    for (const std::size_t column : columns) {
      const std::string& key = spec_.columns[column].path[level];
      if (std::find(keys.begin(), keys.end(), key) == keys.end() && !OneIn(8)) keys.push_back(key);
    }
    if (OneIn(3)) std::shuffle(keys.begin(), keys.end(), random_);
    while (OneIn(4)) keys.insert(keys.begin() + static_cast<std::ptrdiff_t>(Below(keys.size() + 1)), "");
    while (!keys.empty() && OneIn(8)) keys.push_back(keys[Below(keys.size())]);
    std::string text = "{" + Space();
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (i > 0) text += Space() + "," + Space();
      const std::string unknown = "unknown" + std::to_string(Below(4)) + (OneIn(8) ? Text() : "");
      text += String(keys[i].empty() ? unknown : keys[i]) + Space() + ":" + Space();
      text += keys[i].empty() ? Anything(0) : Member(columns, level, keys[i]);
    }
    return text + Space() + "}";
  }

  std::string Member(const std::vector<std::size_t>& columns, std::size_t level, const std::string& key) {
    std::vector<std::size_t> below;
    for (const std::size_t column : columns) {
      if (spec_.columns[column].path[level] == key) below.push_back(column);
    }
    for (const std::size_t column : below) cells_[column] = "null";
    if (OneIn(8)) return "null";
    if (spec_.columns[below[0]].path.size() > level + 1) return Object(below, level + 1);
    const ColumnSpec& column = spec_.columns[below[0]];
    const Value value =
        column.type->id() == arrow::Type::LIST ? List(column) : Leaf(*column.type, column.form.timestamp);
    for (const std::size_t each : below) cells_[each] = value.cell;
    return value.json;
  }

  Value List(const ColumnSpec& column) {
    const auto& type = *static_cast<const arrow::ListType&>(*column.type).value_type();
    Value list{"[" + Space(), "["};
    for (std::uint64_t i = 0, n = Below(6); i < n; ++i) {
      const Value value = OneIn(5) ? Value{"null", "null"} : Leaf(type, column.form.timestamp);
      list.json += (i == 0 ? "" : Space() + "," + Space()) + value.json;
      list.cell += (i == 0 ? "" : ",") + value.cell;
    }
    return {list.json + Space() + "]", list.cell + "]"};
  }

  Value Leaf(const arrow::DataType& type, TimestampForm form) {
    switch (type.id()) {
      case arrow::Type::STRING: {
        const std::string text = Text();
        return {String(text), "'" + text + "'"};
      }
      case arrow::Type::BOOL:
        return OneIn(2) ? Value{"true", "true"} : Value{"false", "false"};
      case arrow::Type::INT32: {
        const std::int32_t value = static_cast<std::int32_t>(random_()) >> Below(31);
        return {Written(value, 0), std::to_string(value)};
      }
      case arrow::Type::INT64: {
        const std::int64_t value = static_cast<std::int64_t>(random_()) >> Below(63);
        return {Written(value, 0), std::to_string(value)};
      }
      case arrow::Type::DOUBLE: {
        double value = 0;
        do {
          const std::uint64_t bits = random_();
          std::memcpy(&value, &bits, sizeof value);
        } while (value != value || value - value != 0);
        if (OneIn(2)) value = static_cast<double>(Below(1'000'000)) / 100;
        return {OneIn(2) ? fmt::format("{}", value) : fmt::format("{:.17e}", value), fmt::format("{:a}", value)};
      }
      case arrow::Type::DECIMAL128:
        return Decimal(static_cast<const arrow::Decimal128Type&>(type));
      case arrow::Type::DATE32: {
        const auto days = std::chrono::sys_days(std::chrono::days(static_cast<int>(Below(2932896 + 719162)) - 719162));
        const std::chrono::year_month_day date(days);
        return {fmt::format("\"{:04}-{:02}-{:02}\"", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                            static_cast<unsigned>(date.day())),
                std::to_string(days.time_since_epoch().count())};
      }
      default:
        return Timestamp(form);
    }
  }

  Value Decimal(const arrow::Decimal128Type& type) {
    std::string digits = std::to_string(1 + Below(9));
    const std::size_t length = 1 + Below(static_cast<std::uint64_t>(type.precision()));
    while (digits.size() < length) digits += static_cast<char>('0' + Below(10));
    const std::string sign = OneIn(2) ? "-" : "";
    const auto scale = static_cast<std::size_t>(type.scale());
    std::string text;
    if (OneIn(3)) {
      text = digits + (OneIn(2) ? "e-" : "E-0") + std::to_string(scale);
    } else {
      std::string padded = digits.size() <= scale ? std::string(scale + 1 - digits.size(), '0') + digits : digits;
      padded.insert(padded.size() - scale, ".");
      text = padded + std::string(Below(4), '0');
    }
    return {OneIn(3) ? String(sign + text) : sign + text, sign + digits};
  }

  // value * 10^-decimals, in one of the ways to write it.
  std::string Written(std::int64_t value, int decimals) {
    if (OneIn(4)) return fmt::format("{}{}-{}", value, OneIn(2) ? 'e' : 'E', decimals);
    if (value != 0 && OneIn(4)) return fmt::format("{}000e-{}", value, decimals + 3);
    const std::string sign = value < 0 ? "-" : "";
    std::string digits = std::to_string(value).substr(sign.size());
    const auto scale = static_cast<std::size_t>(decimals);
    if (digits.size() <= scale) digits.insert(0, scale + 1 - digits.size(), '0');
    if (OneIn(4)) return fmt::format("{}{}.{}e{}", sign, digits[0], digits.substr(1) + "0", digits.size() - 1 - scale);
    std::string text = sign + digits;
    if (scale == 0) return OneIn(4) ? text + ".0" : text;
    text.insert(text.size() - scale, ".");
    if (text.ends_with(std::string(scale, '0')) && OneIn(2)) text.resize(text.size() - scale - 1);
    return text;
  }

  Value Timestamp(TimestampForm form) {
    // Half of them in one hour, as in a stream; half anywhere from 1900 to 2100.
    const auto second = OneIn(2) ? 1'770'000'000 + static_cast<std::int64_t>(Below(3600))
                                 : static_cast<std::int64_t>(Below(6'311'433'600)) - 2'208'988'800;
    const auto micros = static_cast<std::int64_t>(OneIn(2) ? Below(1000) * 1000 : Below(1'000'000));
    const std::int64_t value = second * 1'000'000 + micros;
    switch (form) {
      case TimestampForm::kSeconds:
        return {Written(value, 6), std::to_string(value)};
      case TimestampForm::kMillis:
        return {Written(value, 3), std::to_string(value)};
      case TimestampForm::kMicros:
        return {Written(value, 0), std::to_string(value)};
      case TimestampForm::kNanos:
        return {Written(value * 1000, 0), std::to_string(value)};
      case TimestampForm::kRfc3339:
        break;
    }
    std::string zone = OneIn(4) ? "z" : "Z";
    std::int64_t local = second;
    if (OneIn(4)) {
      const auto minutes = static_cast<std::int64_t>(Below(2 * 1440 - 1)) - 1439;
      local += minutes * 60;
      const std::int64_t magnitude = minutes < 0 ? -minutes : minutes;
      zone = fmt::format("{}{:02}:{:02}", minutes < 0 ? '-' : '+', magnitude / 60, magnitude % 60);
    }
    const std::chrono::sys_seconds time{std::chrono::seconds(local)};
    const auto day = std::chrono::floor<std::chrono::days>(time);
    const std::chrono::year_month_day date(day);
    const auto in_day = (time - day).count();
    std::string text = fmt::format("{:04}-{:02}-{:02}{}{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                                   static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                                   OneIn(4) ? ' ' : 'T', in_day / 3600, in_day / 60 % 60, in_day % 60);
    if (micros % 1000 == 0 && OneIn(2)) {
      text += fmt::format(".{:03}", micros / 1000);
    } else {
      text += fmt::format(".{:06}", micros) + std::string(Below(4), '7');
    }
    return {"\"" + text + zone + "\"", std::to_string(value)};
  }

  std::string Text() {
    const char* const pieces[] = {"a",      "b",      "word",   " ",          "\"",         "\\",
                                  "/",      "\n",     "\t",     "{",          "}",          "[1,2]",
                                  ":",      ",",      "\u00e9", "\u20ac",     "\r",         "1",
                                  "\u0007", "\u007f", "\uffff", "\U0001F600", "\U0010FFFF", "0123456789abcdef"};
    std::string text;
    for (std::uint64_t i = 0, n = OneIn(20) ? Below(100) : Below(8); i < n; ++i)
      text += pieces[Below(std::size(pieces))];
    if (OneIn(30)) text += '\0';
    return text;
  }

  // The text between quotes, with the escapes that JSON demands and at times more.
  std::string String(const std::string& text) {
    const bool eager = OneIn(5);
    std::string json = "\"";
    for (std::size_t i = 0; i < text.size(); ++i) {
      const auto byte = static_cast<unsigned char>(text[i]);
      if (byte >= 0x80) {
        const std::size_t length = byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
        if (eager) {
          std::uint32_t code = byte & (0xFFU >> (length + 1));
          for (std::size_t k = 1; k < length; ++k) code = code << 6 | (static_cast<unsigned char>(text[i + k]) & 0x3FU);
          if (code >= 0x10000) {
            json += fmt::format("\\u{:04x}\\u{:04X}", 0xD800 + ((code - 0x10000) >> 10),
                                0xDC00 + ((code - 0x10000) & 0x3FF));
          } else {
            json += fmt::format("\\u{:04x}", code);
          }
        } else {
          json += text.substr(i, length);
        }
        i += length - 1;
      } else if (byte == '"' || byte == '\\' || (byte == '/' && eager)) {
        json += {'\\', static_cast<char>(byte)};
      } else if (byte == '\n' && OneIn(2)) {
        json += "\\n";
      } else if (byte < 0x20 || (eager && OneIn(4))) {
        json += fmt::format("\\u{:04x}", byte);
      } else {
        json += static_cast<char>(byte);
      }
    }
    return json + "\"";
  }

  std::string Anything(int depth) {
    switch (Below(depth > 4 ? 5 : 7)) {
      case 0:
        return "null";
      case 1:
        return OneIn(2) ? "true" : "false";
      case 2:
        return std::to_string(random_()) + (OneIn(2) ? "" : ".25");
      case 3:
        return std::to_string(Below(100)) + "e-7";
      case 4:
        return String(Text());
      case 5: {
        std::string json = "[" + Space();
        for (std::uint64_t i = 0, n = Below(4); i < n; ++i)
          json += (i == 0 ? "" : "," + Space()) + Anything(depth + 1) + Space();
        return json + "]";
      }
      default: {
        std::string json = "{" + Space();
        for (std::uint64_t i = 0, n = Below(4); i < n; ++i) {
          json +=
              (i == 0 ? "" : "," + Space()) + String(Text()) + Space() + ":" + Space() + Anything(depth + 1) + Space();
        }
        return json + "}";
      }
    }
  }

  std::mt19937_64 random_;
  DecodeSpec spec_;
  bool spaced_ = false;
  std::vector<std::string> cells_;
};

TEST(JsonDecoderProperty, RowsHoldWhatTheDocumentsSay) {
  Generator generator(20260301);
  auto decoder = EventDecoder::Make(generator.spec()).ValueOrDie();
  const int columns = static_cast<int>(generator.spec().columns.size());
  for (int batch = 0; batch < 200; ++batch) {
    std::vector<std::string> texts;
    std::vector<std::string> rows;
    for (std::uint64_t i = 0, n = generator.Below(100); i < n; ++i) {
      Document document = generator.Make();
      texts.push_back(std::move(document.text));
      rows.push_back(std::move(document.row));
    }
    const Decoded decoded = DecodeAll(*decoder, texts);
    for (const model::DeadLetter& letter : decoded.dead_letters) FAIL() << letter.detail << "\n" << letter.payload;
    MILLRACE_ASSERT_OK(decoded.rows->ValidateFull());
    const std::vector<std::string> got = RowTexts(*decoded.rows, columns);
    ASSERT_EQ(got.size(), rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) ASSERT_EQ(got[i], rows[i]) << texts[i];
  }
}

// What simdjson's on-demand parser, which gives each value's own bytes, finds in an object: for declared objects their
// members, for all else the bytes. Of two members with one key the last counts.
struct Tree {
  std::map<std::string, Tree> members;
  std::string bytes;
  bool operator==(const Tree&) const = default;
};

class TreeReader {
 public:
  explicit TreeReader(const DecodeSpec& spec) {
    for (const ColumnSpec& column : spec.columns) {
      std::vector<std::string> path;
      for (const std::string& key : column.path) {
        if (!path.empty()) objects_.insert(path);
        path.push_back(key);
      }
      leaves_.insert(path);
    }
  }

  /// The text's members but for declared columns, and for objects and nulls that hold nothing else.
  Tree Read(const std::string& text) {
    const simdjson::padded_string padded(text);
    simdjson::ondemand::document document;
    EXPECT_EQ(parser_.iterate(padded).get(document), simdjson::SUCCESS);
    simdjson::ondemand::object root;
    EXPECT_EQ(document.get_object().get(root), simdjson::SUCCESS) << text;
    Tree tree;
    ReadObject(root, {}, tree);
    return tree;
  }
  int declared() const { return declared_; }

 private:
  void ReadObject(simdjson::ondemand::object object, const std::vector<std::string>& around, Tree& tree) {
    for (auto field : object) {
      std::string_view key;
      ASSERT_EQ(field.unescaped_key().get(key), simdjson::SUCCESS);
      std::vector<std::string> path = around;
      path.emplace_back(key);
      simdjson::ondemand::value value;
      ASSERT_EQ(std::move(field).value().get(value), simdjson::SUCCESS);
      Tree& member = tree.members[path.back()];
      member = {};
      if (leaves_.contains(path)) {
        ++declared_;
        tree.members.erase(path.back());
        continue;
      }
      if (objects_.contains(path)) {
        simdjson::ondemand::object inner;
        if (value.get_object().get(inner) == simdjson::SUCCESS) ReadObject(inner, path, member);
        if (member.members.empty()) tree.members.erase(path.back());
        continue;
      }
      member.bytes = Bytes(value);
    }
  }

  static std::string Bytes(simdjson::ondemand::value value) {
    std::string_view bytes;
    const auto type = value.type().value();
    if (type == simdjson::ondemand::json_type::object) {
      auto object = value.get_object().value();
      bytes = object.raw_json().value();
    } else if (type == simdjson::ondemand::json_type::array) {
      auto array = value.get_array().value();
      bytes = array.raw_json().value();
    } else {
      bytes = value.raw_json_token();
    }
    return std::string(bytes.substr(0, bytes.find_last_not_of(" \t\r\n") + 1));
  }

  simdjson::ondemand::parser parser_;
  std::set<std::vector<std::string>> objects_;
  std::set<std::vector<std::string>> leaves_;
  int declared_ = 0;
};

TEST(JsonDecoderProperty, WhatNoColumnTakesIsRescuedByteForByte) {
  Generator generator(20260304);
  DecodeSpec spec = generator.spec();
  auto ignoring = EventDecoder::Make(spec).ValueOrDie();
  spec.unknown_fields = UnknownFields::kRescue;
  auto rescuing = EventDecoder::Make(spec).ValueOrDie();
  const int columns = static_cast<int>(spec.columns.size());
  TreeReader of_documents(spec);
  TreeReader of_rescued(spec);
  int rescued_rows = 0;
  int null_rows = 0;
  for (int batch = 0; batch < 200; ++batch) {
    std::vector<std::string> texts;
    // Damaged ones fail after some of their members were kept.
    for (std::uint64_t i = 0, n = generator.Below(100); i < n; ++i) {
      std::string text = generator.Make().text;
      if (generator.OneIn(10)) text.resize(generator.Below(text.size()));
      texts.push_back(std::move(text));
    }
    const Decoded plain = DecodeAll(*ignoring, texts);
    const Decoded decoded = DecodeAll(*rescuing, texts);
    MILLRACE_ASSERT_OK(decoded.rows->ValidateFull());
    ASSERT_EQ(RowTexts(*decoded.rows, columns), RowTexts(*plain.rows, columns));
    ASSERT_EQ(decoded.dead_letters.size(), plain.dead_letters.size());
    const auto& rescued = static_cast<const arrow::StringArray&>(*decoded.rows->column(columns));
    const auto& offsets = static_cast<const arrow::Int64Array&>(*decoded.rows->GetColumnByName("_offset"));
    for (std::int64_t row = 0; row < rescued.length(); ++row) {
      const std::string& text = texts[static_cast<std::size_t>(offsets.Value(row))];
      if (rescued.IsNull(row)) {
        ++null_rows;
        ASSERT_EQ(of_documents.Read(text), Tree()) << text;
        continue;
      }
      ++rescued_rows;
      ASSERT_LE(rescued.GetView(row).size(), text.size());
      ASSERT_EQ(of_rescued.Read(rescued.GetString(row)), of_documents.Read(text)) << text << "\n"
                                                                                  << rescued.GetView(row);
    }
  }
  EXPECT_EQ(of_rescued.declared(), 0);
  EXPECT_GT(rescued_rows, 3000);
  EXPECT_GT(null_rows, 3000);
}

// Is this JSON text what the cell holds?
bool Holds(const arrow::Array& column, std::int64_t row, AddedType type, const std::string& json) {
  switch (type) {
    case AddedType::kBool:
    case AddedType::kInt64:
      return CellText(column, row) == json;
    case AddedType::kDouble:
      return static_cast<const arrow::DoubleArray&>(column).Value(row) == std::strtod(json.c_str(), nullptr);
    case AddedType::kJson:
      return static_cast<const arrow::StringArray&>(column).GetView(row) == json;
    case AddedType::kString:
      break;
  }
  simdjson::dom::parser parser;
  std::string_view text;
  return parser.parse(simdjson::padded_string(json)).get(text) == simdjson::SUCCESS &&
         static_cast<const arrow::StringArray&>(column).GetView(row) == text;
}

TEST(JsonDecoderProperty, AddedColumnsAndTheRestSayWhatWasRescued) {
  Generator generator(20260305);
  DecodeSpec spec = generator.spec();
  spec.unknown_fields = UnknownFields::kAdd;
  auto decoder = EventDecoder::Make(spec).ValueOrDie();
  TreeReader reader(spec);
  int taken = 0;
  int left = 0;
  for (int batch = 0; batch < 600; ++batch) {
    std::vector<std::string> texts;
    for (std::uint64_t i = 0, n = generator.Below(40); i < n; ++i) texts.push_back(generator.Make().text);
    const Decoded decoded = DecodeAll(*decoder, texts);
    const auto& rescued =
        static_cast<const arrow::StringArray&>(*decoded.rows->GetColumnByName(std::string(kRescuedColumn)));
    RescuedFields fields;
    fields.SetColumns({}, {"geo"});
    const std::vector<AddedColumn> columns = fields.FindNew(rescued);
    fields.SetColumns(columns, {"geo"});
    ASSERT_EQ(fields.columns(), columns);
    ASSERT_TRUE(fields.FindNew(rescued).empty());
    const auto parts = fields.Split(rescued).ValueOrDie();
    MILLRACE_ASSERT_OK(parts.rescued->ValidateFull());
    const auto& rest = static_cast<const arrow::StringArray&>(*parts.rescued);
    for (std::int64_t row = 0; row < rescued.length(); ++row) {
      Tree want = rescued.IsNull(row) ? Tree() : reader.Read(rescued.GetString(row));
      Tree got = rest.IsNull(row) ? Tree() : reader.Read(rest.GetString(row));
      left += static_cast<int>(got.members.size());
      for (std::size_t i = 0; i < columns.size(); ++i) {
        const auto member = want.members.find(columns[i].name);
        if (parts.columns[i]->IsNull(row)) {
          const bool is_null = member != want.members.end() && member->second.bytes == "null";
          if (is_null && !got.members.contains(member->first)) want.members.erase(member);
          continue;
        }
        ++taken;
        ASSERT_TRUE(member != want.members.end());
        ASSERT_TRUE(Holds(*parts.columns[i], row, columns[i].type, member->second.bytes)) << member->second.bytes;
        ASSERT_TRUE(got.members.emplace(*member).second) << "in both: " << member->first;
      }
      ASSERT_EQ(got, want) << rescued.GetView(row);
    }
  }
  EXPECT_GT(taken, 1000);
  EXPECT_GT(left, 1000);
}

std::string Damage(Generator& generator, std::string text) {
  const char interesting[] = "\"\\{}[],: \n0123456789.eE+-tfnu\x01\x1F\x7F\x80\xC3\xE2\xED\xF0\xFF";
  for (std::uint64_t i = 0, n = 1 + generator.Below(3); i < n && !text.empty(); ++i) {
    const std::size_t at = generator.Below(text.size());
    const char byte = interesting[generator.Below(sizeof interesting)];  // Its final zero byte too.
    switch (generator.Below(6)) {
      case 0:
        text.resize(at);
        break;
      case 1:
        text.erase(at, 1 + generator.Below(3));
        break;
      case 2:
        text.insert(at, 1, byte);
        break;
      case 3:
        text[at] = static_cast<char>(text[at] ^ (1 << generator.Below(8)));
        break;
      case 4:
        text.insert(at, text.substr(generator.Below(text.size()), generator.Below(20)));
        break;
      default:
        text[at] = byte;
    }
  }
  return text;
}

TEST(JsonDecoderProperty, DamagedDocumentsAreJudgedAsByADomParser) {
  Generator generator(20260302);
  auto any = EventDecoder::Make({}).ValueOrDie();
  auto typed = EventDecoder::Make(generator.spec()).ValueOrDie();
  simdjson::dom::parser parser;
  int accepted = 0;
  int rejected = 0;
  int numbers = 0;
  for (int i = 0; i < 30000; ++i) {
    const std::string text = Damage(generator, generator.Make().text);
    simdjson::dom::element root;
    const simdjson::error_code error = parser.parse(simdjson::padded_string(text)).get(root);
    // This parser also refuses numbers of sound grammar that a double or uint64 cannot hold; no oracle for those.
    if (error == simdjson::NUMBER_ERROR) {
      ++numbers;
      continue;
    }
    const bool want = error == simdjson::SUCCESS && root.is_object();
    const bool got = DecodeAll(*any, {text}).rows->num_rows() == 1;
    ASSERT_EQ(got, want) << simdjson::error_message(error) << "\n" << text;
    const Decoded decoded = DecodeAll(*typed, {text});
    MILLRACE_ASSERT_OK(decoded.rows->ValidateFull());
    if (!want) {
      ASSERT_EQ(decoded.rows->num_rows(), 0) << text;
    }
    ++(want ? accepted : rejected);
  }
  EXPECT_GT(accepted, 3000);
  EXPECT_GT(rejected, 3000);
  EXPECT_LT(numbers, 6000);
}

TEST(JsonDecoderProperty, NeighboursDoNotMatter) {
  Generator generator(20260303);
  const int columns = static_cast<int>(generator.spec().columns.size());
  std::vector<std::string> texts;
  for (int i = 0; i < 3000; ++i) {
    std::string text = generator.Make().text;
    texts.push_back(generator.OneIn(5) ? Damage(generator, std::move(text)) : std::move(text));
  }
  const auto decode = [&](std::uint64_t batch_max, bool fresh) {
    std::vector<std::string> outcome;
    auto decoder = EventDecoder::Make(generator.spec()).ValueOrDie();
    for (std::size_t begin = 0; begin < texts.size();) {
      if (fresh) decoder = EventDecoder::Make(generator.spec()).ValueOrDie();
      const std::size_t end = std::min<std::size_t>(texts.size(), begin + 1 + generator.Below(batch_max));
      const Decoded decoded = DecodeAll(*decoder, {texts.begin() + static_cast<std::ptrdiff_t>(begin),
                                                   texts.begin() + static_cast<std::ptrdiff_t>(end)});
      std::vector<std::string> batch(end - begin);
      const std::vector<std::string> rows = RowTexts(*decoded.rows, columns);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        const auto& offsets = static_cast<const arrow::Int64Array&>(*decoded.rows->GetColumnByName("_offset"));
        batch[static_cast<std::size_t>(offsets.Value(static_cast<std::int64_t>(i)))] = rows[i];
      }
      for (const model::DeadLetter& letter : decoded.dead_letters) {
        batch[static_cast<std::size_t>(letter.offset)] = letter.reason + ": " + letter.detail;
      }
      outcome.insert(outcome.end(), batch.begin(), batch.end());
      begin = end;
    }
    return outcome;
  };
  const std::vector<std::string> together = decode(texts.size() * 2, false);
  EXPECT_EQ(std::count(together.begin(), together.end(), ""), 0);
  EXPECT_EQ(decode(1, true), together);
  EXPECT_EQ(decode(1, false), together);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(decode(200, i == 0), together);
}

}  // namespace
}  // namespace millrace::ingest
