#include "infer/pipeline_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

#include "base/ascii_case.h"
#include "base/json_text.h"
#include "base/quantity_text.h"
#include "infer/rehearsal.h"

namespace millrace::infer {
namespace {

using namespace std::chrono_literals;
using namespace std::string_view_literals;

// Comments begin here, if the line leaves room.
constexpr std::size_t kCommentAt = 44;

// Longer names would hide what is said about them.
constexpr std::size_t kNotesBytesMax = 400;

constexpr std::array kYamlWords = {"true"sv, "false"sv, "null"sv, "yes"sv, "no"sv,
                                   "on"sv,   "off"sv,   "y"sv,    "n"sv,   "~"sv};

bool IsWordLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

bool IsPlainWord(std::string_view text) {
  const auto lower = AsciiLower(text);
  const bool begins_as_word = !text.empty() && ((lower[0] >= 'a' && lower[0] <= 'z') || lower[0] == '_');
  return begins_as_word && std::all_of(text.begin(), text.end(), IsWordLetter) &&
         std::find(kYamlWords.begin(), kYamlWords.end(), lower) == kYamlWords.end();
}

std::string YamlKey(std::string_view text) {
  if (IsPlainWord(text) && text.find('.') == text.npos) return std::string(text);
  std::string quoted;
  AppendJsonString(text, quoted);
  return quoted;
}

bool IsSecretProperty(const std::string& name) {
  return HintsOf(name).secret || name.ends_with(".pem") || name == "sasl.oauthbearer.config" || name == "sasl.username";
}

std::string VariableOf(const std::string& property) {
  std::string name = "KAFKA_";
  for (const char c : property)
    name += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : IsWordLetter(c) && c != '.' && c != '-' ? c : '_';
  return name;
}

class Writer {
 public:
  void Line(std::string_view text) { (out_ += text) += '\n'; }

  void Noted(std::string line, std::string_view note) {
    if (note.empty()) return Line(line);
    line.resize(std::max(line.size() + 2, kCommentAt), ' ');
    Line(line + "# " + OneLine(note));
  }
  void Noted(std::string line, const std::vector<std::string>& notes) {
    Noted(std::move(line), fmt::format("{}", fmt::join(notes, "; ")));
  }

  std::string Take() { return std::move(out_); }

 private:
  // Names of the sample's fields may hold anything.
  static std::string OneLine(std::string_view note) {
    std::string line;
    for (const char c : note) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte < 0x20 || byte == 0x7F) {
        line += ' ';
      } else {
        line += c;
      }
    }
    if (line.size() <= kNotesBytesMax) return line;
    line.resize(kNotesBytesMax);
    while (!line.empty() && (static_cast<unsigned char>(line.back()) & 0xC0) == 0x80) line.pop_back();
    if (!line.empty() && static_cast<unsigned char>(line.back()) >= 0xC0) line.pop_back();
    return line + "…";
  }

  std::string out_;
};

std::string PathText(const std::vector<std::string>& path) {
  const bool dotted = std::all_of(path.begin(), path.end(),
                                  [](const auto& key) { return IsPlainWord(key) && key.find('.') == key.npos; });
  if (dotted) return fmt::format("{}", fmt::join(path, "."));
  std::vector<std::string> keys;
  for (const auto& key : path) keys.push_back(YamlText(key));
  return fmt::format("[{}]", fmt::join(keys, ", "));
}

std::string ColumnText(const DraftColumn& column) {
  // A comma would end it in braces.
  const std::string type = IsPlainWord(column.type) ? column.type : '"' + column.type + '"';
  std::vector<std::string> parts;
  if (!column.type.empty()) parts.push_back("type: " + type);
  if (!column.from.empty()) {
    parts.push_back("from: " + YamlText(column.from));
  } else if (column.type.empty() || column.path != std::vector<std::string>{column.name}) {
    parts.push_back("path: " + PathText(column.path));
  }
  if (!column.format.empty()) parts.push_back("format: " + YamlText(column.format));
  std::string value = column.type.find(": ") == std::string::npos ? column.type : type;  // Else YAML's own.
  if (column.type.empty() || parts.size() > 1) value = fmt::format("{{{}}}", fmt::join(parts, ", "));
  return fmt::format("{}: {}", YamlKey(column.name), value);
}

std::string Many(std::int64_t count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

void WriteHead(const Draft& draft, Writer& out) {
  if (draft.records > 0) {
    out.Line(fmt::format("# Guessed from {} of {}. Read the comments before you rely on it.",
                         Many(draft.records, "record", "records"), draft.source.sampled));
  } else {
    out.Line(fmt::format("# Made of a schema alone, without a record of {}. Read the comments before you rely on it.",
                         draft.source.sampled));
  }
  if (draft.tombstones > 0) {
    out.Line(
        fmt::format("# {} without a payload, which become no rows.", Many(draft.tombstones, "more is", "more are")));
  }
  if (const auto& rehearsal = draft.rehearsal) {
    std::int64_t letters = 0;
    for (const auto& [reason, count] : rehearsal->dead_letters) letters += count;
    out.Line(letters == 0
                 ? fmt::format("# Read as below, all {} become rows.", rehearsal->rows)
                 : fmt::format("# Read as below, {} become rows and {}: {}.", rehearsal->rows,
                               Many(letters, "dead letter", "dead letters"), ReasonsText(rehearsal->dead_letters)));
  }
  out.Line("#");
  out.Line("#   millrace validate FILE      says what is wrong with it");
  out.Line("#   millrace run -c FILE        runs it");
}

void WriteSource(const Draft& draft, Writer& out) {
  const auto& source = draft.source;
  out.Line("source:");
  if (source.kafka.empty()) {
    out.Noted(fmt::format("  embedded: {{path: {}}}", YamlText(source.embedded_path)),
              "records go after 7 days: {path: …, retention: 30d} keeps them longer");
  } else {
    out.Line("  kafka:");
    for (const auto& [name, value] : source.kafka) {
      const auto written = value.empty() || IsSecretProperty(name)
                               ? fmt::format("\"${{{}:?{} of the brokers}}\"", VariableOf(name), name)
                               : YamlText(value);
      out.Line(fmt::format("    {}: {}", YamlText(name), written));
    }
  }
  if (source.registry && draft.schema) {
    out.Line("  schema_registry:");
    out.Line(fmt::format("    url: {}", YamlText(source.registry->url)));
    if (source.registry->has_login) {
      out.Line(fmt::format("    basic_auth: {{username: \"${{{}:?of the registry}}\", password: \"${{{}:-}}\"}}",
                           kRegistryUser, kRegistryPassword));
    }
  }
  out.Line(fmt::format("  topics: [{}]", YamlText(source.topic)));
}

void WriteSchema(const Draft& draft, Writer& out) {
  const auto& registry = draft.source.registry;
  const auto& message = draft.schema->message;
  if (registry && message.empty() && registry->subject == draft.source.topic + "-value") {
    return out.Noted("  schema: registry", fmt::format("the newest of the subject; now {}", draft.schema->file));
  }
  std::string schema = registry ? fmt::format("subject: {}", YamlText(registry->subject))
                                : fmt::format("file: {}", YamlText(draft.schema->file));
  if (!message.empty()) schema += fmt::format(", message: {}", YamlText(message));
  out.Line(fmt::format("  schema: {{{}}}", schema));
}

void WriteDecode(const Draft& draft, Writer& out) {
  out.Line("decode:");
  out.Noted(fmt::format("  format: {}", draft.format), draft.format_notes);
  if (draft.schema) {
    WriteSchema(draft, out);
  }
  if (draft.schema || draft.framing != ingest::Framing::kNone) {
    out.Noted(fmt::format("  framing: {}", ingest::FramingName(draft.framing)), draft.framing_note);
  }
  if (draft.parts != ingest::Records::kOne) {
    out.Noted(fmt::format("  records: {}", ingest::RecordsName(draft.parts)), draft.parts_note);
  }
  if (draft.compression != ingest::Compression::kNone) out.Noted("  compression: auto", draft.compression_note);
  if (draft.csv) {
    std::vector<std::string> header;
    for (const auto& name : draft.csv->header) header.push_back(YamlText(name));
    out.Line("  csv:");
    const bool is_tab = draft.csv->delimiter == '\t';
    out.Line(fmt::format("    delimiter: {}", is_tab ? R"("\t")" : YamlText({&draft.csv->delimiter, 1})));
    if (!draft.null_text.empty()) out.Line(fmt::format("    \"null\": {}", YamlText(draft.null_text)));
    out.Line(fmt::format("    header: [{}]", fmt::join(header, ", ")));
  }
  out.Line("  columns:");
  for (const auto& column : draft.columns) {
    auto notes = column.notes;
    if (column.left_out && !column.hints.secret && draft.rescue) notes.emplace_back("_rescued keeps it");
    out.Noted(fmt::format("    {}{}", column.left_out ? "# " : "", ColumnText(column)), notes);
  }
  if (draft.rescue) {
    out.Noted("  unknown_fields: rescue", draft.unknown_fields_note);
  } else if (!draft.unknown_fields_note.empty()) {
    out.Noted("  unknown_fields: ignore", draft.unknown_fields_note);
  }
}

// The shortest usual one that lets nearly all events of the sample be in time; nullopt: none does.
std::optional<std::chrono::microseconds> DelayFor(std::chrono::microseconds lateness) {
  for (const std::chrono::microseconds delay : {10s, 30s, 60s, 300s, 600s, 1800s, 3600s}) {
    if (lateness <= delay) return delay;
  }
  return std::nullopt;
}

void WriteEventTime(const Draft& draft, Writer& out) {
  std::vector<std::string> notes;
  if (!draft.event_time_note.empty()) notes.push_back(draft.event_time_note);
  std::string delay;
  if (const auto& rehearsal = draft.rehearsal) {
    if (rehearsal->ahead > 0)
      notes.push_back(fmt::format("{} are more than 5m ahead of their record: dead letters", rehearsal->ahead));
    const auto enough = DelayFor(rehearsal->lateness.value_or(0s));
    if (enough && *enough > 10s) {
      delay = fmt::format(", watermark_delay: {}", DurationText(*enough));
      notes.push_back(fmt::format("events came up to {} after newer ones",
                                  DurationText(std::chrono::ceil<std::chrono::seconds>(*rehearsal->lateness))));
    } else if (!enough) {
      notes.push_back(fmt::format("events came up to {} after newer ones: their windows count as complete by then",
                                  DurationText(std::chrono::ceil<std::chrono::hours>(*rehearsal->lateness))));
    }
  }
  out.Noted(fmt::format("event_time: {{column: {}{}}}", YamlText(draft.event_time), delay), notes);
  if (!draft.dedupe_by.empty()) {
    std::vector<std::string> by;
    for (const auto& column : draft.dedupe_by) by.push_back(YamlText(column));
    out.Noted(fmt::format("# dedupe: {{by: [{}], within: 24h}}", fmt::join(by, ", ")), draft.dedupe_note);
  }
}

void WriteTables(const Draft& draft, Writer& out) {
  out.Line("tables:");
  out.Line(fmt::format("  - name: {}", draft.name));
  out.Line(fmt::format("    partition_by: [{}]", YamlText("date(" + draft.event_time + ")")));
  std::vector<std::string> select = {"window_start"};
  for (const auto& key : draft.aggregate.keys) select.push_back(SqlName(key));
  select.emplace_back("count(*) AS events");
  for (const auto& [sql, name] : draft.aggregate.measures)
    select.push_back(fmt::format("{} AS {}", sql, SqlName(name)));
  out.Line("aggregates:");
  out.Noted(fmt::format("  - name: {}_1m", draft.name),
            "a first one: how many a minute, and what the columns seem to be for");
  out.Line("    sql: |");
  // Within a block of YAML the configuration still reads variables.
  const auto escaped = [](std::string text) {
    for (auto at = text.find("${"); at != text.npos; at = text.find("${", at + 3)) text.insert(at, "$");
    return text;
  };
  out.Line(escaped(fmt::format("      SELECT {}", fmt::join(select, ", "))));
  out.Line(escaped(fmt::format("      FROM TUMBLE(input, {}, INTERVAL 1 MINUTE)", SqlName(draft.event_time))));
  out.Line("      GROUP BY ALL");
}

}  // namespace

std::string YamlText(std::string_view text) {
  if (IsPlainWord(text)) return std::string(text);
  std::string escaped(text);
  for (auto at = escaped.find("${"); at != escaped.npos; at = escaped.find("${", at + 3)) escaped.insert(at, "$");
  std::string quoted;
  AppendJsonString(escaped, quoted);
  return quoted;
}

std::string PipelineText(const Draft& draft) {
  Writer out;
  WriteHead(draft, out);
  out.Line("version: 1");
  out.Line(fmt::format("pipeline: {}", YamlText(draft.name)));
  WriteSource(draft, out);
  WriteDecode(draft, out);
  WriteEventTime(draft, out);
  WriteTables(draft, out);
  out.Line("lake: {uri: ./lake}");
  out.Line("serve: {listen: \"127.0.0.1:8080\"}");
  return out.Take();
}

}  // namespace millrace::infer
