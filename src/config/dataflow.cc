// From a configuration to its dataflow, and what needs several parts of it: names, references, columns and SQL.
#include "config/dataflow.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <utility>

#include "base/ascii_case.h"
#include "base/nearest_name.h"
#include "config/config_internal.h"
#include "config/final_schema_internal.h"
#include "delta/data/partition_values.h"
#include "delta/log/table_properties.h"
#include "delta/table.h"
#include "ingest/declared_fields.h"
#include "ingest/formats.h"
#include "ingest/provenance.h"
#include "lookup/source.h"
#include "model/dead_letters.h"
#include "model/event_batch.h"
#include "process/transform.h"
#include "sql/error_place.h"
#include "sql/own_relations.h"

namespace millrace::config {
namespace {

// What messages call the input of the short form.
constexpr const char* kOnlyInput = "input";

int ToInt(const std::ssub_match& digits) {
  int number = 0;
  std::from_chars(&*digits.first, &*digits.first + digits.length(), number);
  return number;
}

// Takes the place in the SQL out of an error's message. A status carries it as text only, in one of two forms: ours,
// "at line 2 column 9", and DuckDB's.
std::optional<sql::ErrorPlace> TakePlace(std::string& message, const std::string& sql) {
  static const std::regex kOurs(R"( ?\(?(?:at )?line (\d+),? column (\d+)\)?)");
  if (const auto place = sql::TakeErrorPlace(message, sql)) return place;
  std::smatch match;
  if (!std::regex_search(message, match, kOurs)) return std::nullopt;
  const sql::ErrorPlace place{ToInt(match[1]), ToInt(match[2])};
  message = match.prefix().str() + match.suffix().str();
  return place;
}

/// "date(ts)" -> "ts"; nullopt for a plain column.
std::optional<std::string> DateArgument(const std::string& expression) {
  if (!expression.starts_with("date(") || !expression.ends_with(")")) return std::nullopt;
  return expression.substr(5, expression.size() - 6);
}

// How its values read, where that is not plain: what the same field means.
std::string FormOf(const ingest::ValueForm& form) {
  if (form.text == ingest::TextForm::kUuid) return " as uuid";
  if (form.text == ingest::TextForm::kJson) return " as json";
  switch (form.timestamp) {
    case ingest::TimestampForm::kRfc3339:
    case ingest::TimestampForm::kRfc3339OrMicros:
      return "";
    case ingest::TimestampForm::kFormat:
      return " as " + std::string(ingest::TextOf(*form.time_format));
    case ingest::TimestampForm::kSeconds:
      return " in s";
    case ingest::TimestampForm::kMillis:
      return " in ms";
    case ingest::TimestampForm::kMicros:
      return " in us";
    case ingest::TimestampForm::kNanos:
      return " in ns";
  }
  return "";
}

// Which field of a document it reads, as a JSON pointer (RFC 6901) without its first slash; its name does not matter.
// Of the record's parts, those that are columns anyway have their names; the others begin with the slash.
std::string FieldOf(const ingest::ColumnSpec& column) {
  if (column.from) {
    const auto part = column.from->part;
    const bool is_text = part == ingest::RecordPart::kKey || part == ingest::RecordPart::kHeader;
    return (is_text ? "/" : "_") + ingest::FromText(*column.from) + (is_text ? FormOf(column.form) : "");
  }
  std::string pointer;
  for (const auto& key : column.path) {
    if (!pointer.empty()) pointer += '/';
    for (const char c : key) {
      if (c == '~' || c == '/') {
        pointer += c == '~' ? "~0" : "~1";
      } else {
        pointer += c;
      }
    }
  }
  return pointer + FormOf(column.form);
}

process::RowOrigin OriginOfEvents(const ingest::DecodeSpec& decode, const arrow::Schema& events) {
  process::RowOrigin origin;
  for (const auto& column : decode.columns) origin.columns.push_back(sql::QuoteIdentifier(FieldOf(column)));
  for (int i = static_cast<int>(origin.columns.size()); i < events.num_fields(); ++i) {
    origin.columns.push_back(sql::QuoteIdentifier(events.field(i)->name()));
  }
  return origin;
}

// A transform may pass the rescued column on, drop it, or make something else of that name.
void PlanRescued(const ingest::DecodeSpec& decode, TablePlan& table) {
  if (!decode.has_rescued_column()) return;
  const int column = table.schema->GetFieldIndex(std::string(ingest::kRescuedColumn));
  if (column < 0 || table.schema->field(column)->type()->id() != arrow::Type::STRING) return;
  table.rescued_column = column;
  table.adds_columns = decode.unknown_fields == ingest::UnknownFields::kAdd;
  table.declared = decode.declared;
  for (const auto& declared : decode.columns) {
    if (declared.path.size() > 1) table.object_keys.push_back(declared.path.front());
  }
}

// What has a finding, or was not usable in the first place, is left out; so is what reads from it, without another
// finding.
class Planner {
 public:
  Planner(const PipelineConfig& config, const ConfigNodes& nodes, LookupAccess lookup_access, Findings& findings)
      : config_(config), nodes_(nodes), lookup_access_(lookup_access), findings_(findings) {}

  Dataflow Plan() {
    CheckUniqueNames();
    CheckPlaces();
    if (!config_.transforms.empty() || !config_.aggregates.empty()) {
      auto session = sessions_.ForPlanning();
      if (!session.ok()) {
        findings_.Add({}, session.status().message());
        return std::move(flow_);
      }
      session_ = *std::move(session);
    }
    for (const auto& input : config_.inputs) {
      if (!input.name.empty()) input_names_.push_back(input.name);
    }
    for (const auto& transform : config_.transforms) relation_names_.push_back(transform.name);
    CheckTopics();
    for (std::size_t i = 0; i < config_.inputs.size(); ++i) PlanInput(config_.inputs[i], nodes_.inputs[i]);
    PlanLookups();
    PlanTransforms();
    for (std::size_t i = 0; i < config_.tables.size(); ++i) PlanEventTable(config_.tables[i], nodes_.tables[i]);
    for (std::size_t i = 0; i < config_.aggregates.size(); ++i) {
      PlanAggregateTable(config_.aggregates[i], nodes_.aggregates[i]);
    }
    PlanLetterTable(config_.letter_columns);
    KeepNamesFromRoutes();
    CheckInputsAreRead();
    return std::move(flow_);
  }

  /// Of a lookup that may be there later, which is no mistake of the configuration's.
  const Status& unreachable() const { return unreachable_; }

 private:
  void PlanLetterTable(const LetterColumns& others) {
    auto fields = model::DeadLetterSchema()->fields();
    for (const auto& column : others.columns) fields.push_back(arrow::field(column.name, column.type));
    // A table that was made for others' letters gets our columns beside its own.
    flow_.tables.push_back({.name = config_.name + "_dead_letters",
                            .kind = TableKind::kDeadLetters,
                            .schema = arrow::schema(std::move(fields)),
                            .partition_columns = others.partition_by,
                            .on_new_column = others.columns.empty() ? OnNewColumn::kReject : OnNewColumn::kAdd});
  }

  void Add(const ConfigNode& node, std::string message) { findings_.Add(node.place, std::move(message)); }

  // SQL is folded to one case by DuckDB, and so are names on some file systems.
  void CheckUniqueNames() {
    std::map<std::string, std::string> seen;
    for (std::size_t i = 0; i < config_.inputs.size(); ++i) {
      const auto& name = config_.inputs[i].name;
      if (nodes_.inputs[i].name != nullptr) {
        ClaimRelation(seen, nodes_.inputs[i].name, name, "an input");
      } else if (!name.empty()) {
        seen.emplace(AsciiLower(name), "the decoded events");
      }
    }
    for (std::size_t i = 0; i < config_.lookups.size(); ++i) {
      ClaimRelation(seen, nodes_.lookups[i].name, config_.lookups[i].name, "a lookup");
    }
    for (std::size_t i = 0; i < config_.transforms.size(); ++i) {
      ClaimRelation(seen, nodes_.transforms[i].name, config_.transforms[i].name, "a transform");
    }
    seen.clear();
    if (nodes_.pipeline != nullptr) {
      seen[AsciiLower(config_.name + "_dead_letters")] = "the dead letters of this pipeline";
      seen[AsciiLower(config_.name + "_replays")] = "the replays of this pipeline's dead letters";
    }
    for (std::size_t i = 0; i < config_.tables.size(); ++i) {
      const auto& table = config_.tables[i];
      if (table.route.empty()) ClaimTable(seen, nodes_.tables[i].name, table.name, "a table");
    }
    for (std::size_t i = 0; i < config_.aggregates.size(); ++i) {
      ClaimTable(seen, nodes_.aggregates[i].name, config_.aggregates[i].name, "an aggregate");
    }
    for (std::size_t i = 0; i < config_.aggregates.size(); ++i) {
      ClaimTable(seen, nodes_.aggregates[i].final_table, config_.aggregates[i].final_table, "a final table");
    }
    CheckRouteNames(seen);
  }

  // Of the index; and no two families may come to one name. That a value's table is called as another table is known
  // only when it comes.
  void CheckRouteNames(std::map<std::string, std::string>& seen) {
    std::vector<std::pair<std::string, RoutePattern>> families;
    for (std::size_t i = 0; i < config_.tables.size(); ++i) {
      const auto* node = nodes_.tables[i].name;
      const auto& name = config_.tables[i].name;
      const auto pattern = RoutePattern::Parse(name);
      if (node == nullptr || config_.tables[i].route.empty() || !pattern) continue;
      ClaimName(seen, node, pattern->IndexTable(), fmt::format("the index of the tables '{}'", name));
      const auto overlapping = std::find_if(families.begin(), families.end(), [&](const auto& other) {
        return other.second.Overlaps(*pattern) && other.second.IndexTable() != pattern->IndexTable();
      });
      if (overlapping != families.end()) {
        Add(*node, fmt::format("'{}' and '{}' could give two tables one name", overlapping->first, name));
      }
      families.emplace_back(name, *pattern);
    }
  }

  void ClaimRelation(std::map<std::string, std::string>& seen, const ConfigNode* node, const std::string& name,
                     const std::string& what) {
    if (node != nullptr) RefuseViews(*node, name);
    ClaimName(seen, node, name, what);
  }

  // Questions in SQL are of a file's tables. One that code plans is called as its folder, whose name is not ours.
  void ClaimTable(std::map<std::string, std::string>& seen, const ConfigNode* node, const std::string& name,
                  const std::string& what) {
    if (node != nullptr && node->place.line > 0) RefuseViews(*node, name);
    ClaimName(seen, node, name, what);
  }

  void RefuseViews(const ConfigNode& node, const std::string& name) {
    if (!sql::IsOwnRelation(name)) return;
    Add(node, fmt::format("the name '{}' is taken by a view of DuckDB's, which SQL would read instead", name));
  }

  void ClaimName(std::map<std::string, std::string>& seen, const ConfigNode* node, const std::string& name,
                 const std::string& what) {
    if (node == nullptr) return;
    const auto [it, fresh] = seen.emplace(AsciiLower(name), what);
    if (!fresh) Add(*node, fmt::format("the name '{}' is taken by {}", name, it->second));
  }

  void CheckPlaces() {
    const auto dedupes = std::find_if(nodes_.inputs.begin(), nodes_.inputs.end(),
                                      [](const auto& input) { return !input.dedupe_by.empty(); });
    if (dedupes != nodes_.inputs.end()) {
      if (auto overlap = TableAroundState(config_)) Add(*dedupes->dedupe_by.front(), *std::move(overlap));
    }
    if (nodes_.embedded_path == nullptr) return;
    for (auto& overlap : OverlappingPlaces(config_)) Add(*nodes_.embedded_path, std::move(overlap));
  }

  // An event has one shape: no two inputs name one topic. What their patterns take is known only from the log.
  void CheckTopics() {
    struct Named {
      const ConfigNodes::Input* by;
      Place place;
    };
    std::map<std::string, Named> named;
    for (std::size_t i = 0; i < config_.inputs.size(); ++i) {
      const auto& at = nodes_.inputs[i];
      for (std::size_t t = 0; t < at.topics.size(); ++t) {
        const auto& topic = config_.inputs[i].topics[t];
        const auto [other, is_new] = named.emplace(topic, Named{&at, at.topics[t]->place});
        if (is_new || other->second.by == &at) continue;
        const auto& place = other->second.place;
        Add(*at.topics[t],
            fmt::format("{}: '{}' is a topic of {} already{}; an event has one shape, so one input reads it",
                        TopicsKey(at), topic, other->second.by->path.empty() ? "another input" : other->second.by->path,
                        place.line == 0 ? "" : fmt::format(" (line {}, column {})", place.line, place.column)));
      }
    }
  }

  static std::string TopicsKey(const ConfigNodes::Input& at) {
    return at.path.empty() ? "source.topics" : at.KeyOf("topics");
  }

  void PlanInput(const InputConfig& config, const ConfigNodes::Input& at) {
    InputPlan input{.name = config.name,
                    .topics = {},
                    .patterns = {},
                    .decode = config.decode,
                    .on_decode_error = config.on_decode_error,
                    .event_time = config.event_time};
    for (std::size_t t = 0; t < at.topics.size(); ++t) {
      if (!TopicPattern::IsPattern(config.topics[t])) {
        input.topics.push_back(config.topics[t]);
      } else if (auto pattern = TopicPattern::Parse(config.topics[t]); pattern.ok()) {
        input.patterns.push_back(*std::move(pattern));
      } else {
        Add(*at.topics[t], fmt::format("{}: {}", TopicsKey(at), pattern.status().message()));
      }
    }
    if (at.columns == nullptr || config.name.empty()) return;
    const bool is_schema_unread = config.decode.schema && config.decode.schema->bytes == nullptr;
    const Status decodes = is_schema_unread ? Status::OK() : ingest::MakeDecoder(config.decode).status();
    if (!decodes.ok()) {
      return Add(*at.columns, at.KeyOf("decode.columns: ") + decodes.message());
    }
    if (input.decode.unknown_fields == ingest::UnknownFields::kAdd && input.decode.writer_schemas != nullptr) {
      input.decode.declared = std::make_shared<ingest::DeclaredFields>();
    }
    input.decode.watch = ingest::MakeFieldWatch(ingest::PayloadSpec(input.decode).columns);
    const auto schema = ingest::EventSchema(input.decode);
    PlanEventTime(*schema, at, input);
    if (config.dedupe) PlanDedupe(*config.dedupe, *schema, at, input);
    auto origin = OriginOfEvents(input.decode, *schema);
    const int index = static_cast<int>(flow_.inputs.size());
    flow_.inputs.push_back(std::move(input));
    AddRelation({.name = config.name, .input = index, .schema = schema, .origin = std::move(origin)});
  }

  void PlanEventTime(const arrow::Schema& events, const ConfigNodes::Input& at, InputPlan& input) {
    if (at.event_time_column == nullptr || !input.event_time) return;
    const auto& name = input.event_time->column;
    const int column = events.GetFieldIndex(name);
    if (column < 0) {
      std::vector<std::string> timestamps;
      for (const auto& field : events.fields()) {
        if (field->type()->id() == arrow::Type::TIMESTAMP) timestamps.push_back(field->name());
      }
      Add(*at.event_time_column, fmt::format("{}: there is no column '{}' in decode.columns{}",
                                             at.KeyOf("event_time.column"), name, DidYouMean(name, timestamps)));
    } else if (events.field(column)->type()->id() != arrow::Type::TIMESTAMP) {
      Add(*at.event_time_column, fmt::format("{}: '{}' is not a timestamp", at.KeyOf("event_time.column"), name));
    } else {
      input.event_time_column = column;
    }
  }

  void PlanDedupe(const DedupeConfig& config, const arrow::Schema& events, const ConfigNodes::Input& at,
                  InputPlan& input) {
    if (at.dedupe_by.empty()) return;
    if (!input.event_time) {
      return Add(*at.dedupe_by.front(), at.KeyOf("dedupe: 'within' is of event time, and there is no event_time"));
    }
    process::DedupeRule rule{.key_columns = {}, .time_column = input.event_time_column, .within = config.within};
    const int num_declared = static_cast<int>(input.decode.columns.size());
    const std::string key = at.KeyOf("dedupe.by");
    for (std::size_t i = 0; i < config.by.size(); ++i) {
      const auto& name = config.by[i];
      const auto& node = *at.dedupe_by[i];
      const int column = events.GetFieldIndex(name);
      if (column < 0 || column >= num_declared) {
        std::vector<std::string> names;
        for (const auto& declared : input.decode.columns) names.push_back(declared.name);
        Add(node, fmt::format("{}: there is no column '{}' in decode.columns{}", key, name, DidYouMean(name, names)));
      } else if (!process::CanBeKey(*events.field(column)->type())) {
        Add(node,
            fmt::format("{}: '{}' is a {}, which cannot be a key", key, name, events.field(column)->type()->name()));
      } else if (std::find(rule.key_columns.begin(), rule.key_columns.end(), column) != rule.key_columns.end()) {
        Add(node, fmt::format("{}: '{}' is here twice", key, name));
      } else {
        rule.key_columns.push_back(column);
      }
    }
    if (rule.key_columns.size() == config.by.size()) input.dedupe = std::move(rule);
  }

  // One that is read for nothing is a mistake; with another finding, or with a lookup that may not be opened, it is not
  // known what reads from it.
  void CheckInputsAreRead() {
    if (!findings_.empty() || config_.inputs.size() == 1) return;
    if (flow_.tables.size() != config_.tables.size() + config_.aggregates.size() + 1) return;
    for (int i = 0; i < static_cast<int>(flow_.inputs.size()); ++i) {
      if (!flow_.TablesOf(i).empty()) continue;
      const auto* node = nodes_.inputs[static_cast<std::size_t>(i)].name;
      const std::string message = fmt::format(
          "no table and no aggregate reads from the input '{}', or from a transform of it; leave it out, or name it as "
          "'from' or in FROM",
          flow_.inputs[static_cast<std::size_t>(i)].name);
      findings_.Add(node == nullptr ? Place{} : node->place, message);
    }
  }

  void AddSqlFinding(const ConfigNode& node, const std::string& sql, const Status& status) {
    std::string message = status.message();
    const auto in_sql = TakePlace(message, sql);
    std::replace(message.begin(), message.end(), '\n', ' ');
    if (!in_sql) return Add(node, std::move(message));
    // With an exact place of its own the finding need not repeat that of the SQL.
    if (node.style == ConfigNode::Style::kUnknown || node.substituted) {
      message += fmt::format(" at line {} column {} of the SQL", in_sql->line, in_sql->column);
    }
    findings_.Add(node.PlaceInText(in_sql->line, in_sql->column), std::move(message));
  }

  void AddRelation(RelationPlan relation) {
    if (sql::IsOwnRelation(relation.name)) return;
    relations_[relation.name] = static_cast<int>(flow_.relations.size());
    flow_.relations.push_back(std::move(relation));
  }

  // As it is declared: a reader may write it in another case. nullopt: there is none.
  std::optional<std::string> RelationNamed(const std::string& name) const {
    for (const auto* names : {&input_names_, &relation_names_}) {
      const auto found = std::find_if(names->begin(), names->end(),
                                      [&](const auto& other) { return EqualsIgnoringAsciiCase(other, name); });
      if (found != names->end()) return *found;
    }
    return std::nullopt;
  }

  // nullopt: it is not planned.
  std::optional<int> PlannedRelation(const std::string& name) const {
    const auto found = relations_.find(name);
    return found == relations_.end() ? std::nullopt : found->second;
  }

  std::string UnknownRelation(const std::string& reader, const std::string& name) const {
    auto candidates = input_names_;
    candidates.insert(candidates.end(), relation_names_.begin(), relation_names_.end());
    std::string instead = DidYouMean(name, candidates);
    if (config_.inputs.size() == 1 && config_.inputs.front().name == kOnlyInput) {
      return fmt::format("{} reads from '{}', which is neither 'input' nor a transform{}", reader, name, instead);
    }
    if (instead.empty()) instead = fmt::format("; the inputs are {}", fmt::join(input_names_, ", "));
    return fmt::format("{} reads from '{}', which is neither an input nor a transform{}", reader, name, instead);
  }

  void PlanLookups() {
    for (std::size_t i = 0; i < config_.lookups.size(); ++i) {
      const auto& spec = config_.lookups[i];
      const auto* from = nodes_.lookups[i].from;
      if (from == nullptr || lookup_access_ == LookupAccess::kNone || sql::IsOwnRelation(spec.name)) continue;
      if (lookup_access_ == LookupAccess::kLocal && !lookup::IsLocal(spec)) continue;
      auto shape = ShapeOf(spec);
      if (shape.ok()) {
        flow_.lookups.push_back(*std::move(shape));
      } else {
        if (KindOf(shape.status()) == ErrorKind::kTransient) unreachable_ = shape.status();
        Add(*from, shape.status().message());
      }
    }
  }

  Result<process::LookupShape> ShapeOf(const lookup::LookupSpec& spec) const {
    const auto& lake = config_.lake;
    ASSIGN_OR_RETURN(const auto source, lookup::OpenSource(spec, {.endpoint = lake.s3_endpoint,
                                                                  .region = lake.s3_region,
                                                                  .path_style = lake.s3_path_style,
                                                                  .ca_file = lake.s3_ca_file}));
    return source->Shape();
  }

  bool IsPlannedLookup(const std::string& name) const {
    return std::any_of(flow_.lookups.begin(), flow_.lookups.end(),
                       [&](const auto& shape) { return EqualsIgnoringAsciiCase(shape.name, name); });
  }

  // Empty: all are.
  std::string ProblemOfJoined(const std::string& transform, const std::vector<std::string>& joined) const {
    std::vector<std::string> names;
    for (const auto& lookup : config_.lookups) names.push_back(lookup.name);
    for (const auto& name : joined) {
      const bool known = std::any_of(names.begin(), names.end(),
                                     [&](const auto& other) { return EqualsIgnoringAsciiCase(other, name); });
      if (!known) {
        return fmt::format("transform '{}' joins '{}', which is none of lookups{}; only a lookup can be joined",
                           transform, name, DidYouMean(name, names));
      }
    }
    return "";
  }

  // Transforms may be written in any order: each is planned once its input is, those that remain wait for each other.
  void PlanTransforms() {
    FindTransformInputs();
    std::vector<bool> looked_at(config_.transforms.size());
    for (bool progressed = true; progressed;) {
      progressed = false;
      for (std::size_t i = 0; i < config_.transforms.size(); ++i) {
        if (looked_at[i] || !inputs_[i] || !relations_.contains(*inputs_[i])) continue;
        looked_at[i] = progressed = true;
        PlanTransform(config_.transforms[i], *nodes_.transforms[i].sql, *inputs_[i]);
      }
    }
    for (std::size_t i = 0; i < config_.transforms.size(); ++i) {
      if (!looked_at[i] && inputs_[i] && IsInCircle(i)) {
        Add(*nodes_.transforms[i].sql, fmt::format("transform '{}' reads from '{}', which reads from it in turn",
                                                   config_.transforms[i].name, *inputs_[i]));
      }
    }
  }

  void FindTransformInputs() {
    inputs_.resize(config_.transforms.size());
    for (std::size_t i = 0; i < config_.transforms.size(); ++i) {
      const auto& at = nodes_.transforms[i];
      if (at.name == nullptr || at.sql == nullptr) continue;
      const auto& transform = config_.transforms[i];
      auto sources = process::Transform::SourcesOf(*session_, transform.name, transform.sql);
      if (!sources.ok()) {
        AddSqlFinding(*at.sql, transform.sql, sources.status());
        continue;
      }
      auto relation = RelationNamed(sources->relation);
      if (!relation) {
        Add(*at.sql, UnknownRelation("transform '" + transform.name + "'", sources->relation));
      } else if (auto problem = ProblemOfJoined(transform.name, sources->joined); !problem.empty()) {
        Add(*at.sql, std::move(problem));
      } else {
        inputs_[i] = std::move(relation);
        joined_[transform.name] = std::move(sources->joined);
      }
    }
  }

  void PlanTransform(const TransformConfig& transform, const ConfigNode& node, const std::string& input) {
    relations_[transform.name] = std::nullopt;
    const auto parent = PlannedRelation(input);
    if (!parent) return;
    for (const auto& name : joined_[transform.name]) {
      if (!IsPlannedLookup(name)) return;
    }
    const auto made = process::Transform::Make(*session_, transform.name, transform.sql, input,
                                               flow_.relations[*parent].schema, flow_.lookups, &sessions_);
    if (!made.ok()) return AddSqlFinding(node, transform.sql, made.status());
    auto origin = (*made)->OriginOf(*session_, flow_.relations[*parent].origin);
    if (!origin.ok()) return AddSqlFinding(node, transform.sql, origin.status());
    AddRelation({.name = transform.name,
                 .input = flow_.relations[*parent].input,
                 .parent = *parent,
                 .sql = transform.sql,
                 .schema = (*made)->output_schema(),
                 .origin = *std::move(origin),
                 .lookups = (*made)->lookups()});
  }

  bool IsInCircle(std::size_t start) const {
    std::string at = *inputs_[start];
    for (std::size_t steps = 0; steps <= config_.transforms.size(); ++steps) {
      if (at == config_.transforms[start].name) return true;
      const auto next = std::find_if(config_.transforms.begin(), config_.transforms.end(),
                                     [&](const auto& transform) { return transform.name == at; });
      if (next == config_.transforms.end()) return false;
      const auto& input = inputs_[static_cast<std::size_t>(next - config_.transforms.begin())];
      if (!input) return false;
      at = *input;
    }
    return false;
  }

  void PlanEventTable(const TableConfig& config, const ConfigNodes::Table& at) {
    const auto from = RelationNamed(config.from);
    if (at.from != nullptr && !from) {
      return Add(*at.from, UnknownRelation("table '" + config.name + "'", config.from));
    }
    const auto relation = from ? PlannedRelation(*from) : std::nullopt;
    if (!relation) return;
    TablePlan table{.name = config.name,
                    .relation = *relation,
                    .commit = config.commit,
                    .properties = config.properties,
                    .on_new_column = config.on_new_column,
                    .planned_schema = config.planned_schema};
    const auto& source = *flow_.relations[*relation].schema;
    const bool has_index = flow_.inputs[flow_.relations[*relation].input].decode.has_index_column();
    arrow::FieldVector fields;
    for (int i = 0; i < source.num_fields(); ++i) {
      const auto& name = source.field(i)->name();
      const auto& provenance = ingest::kProvenanceColumns;
      const bool is_metadata = std::find(provenance.begin(), provenance.end(), name) != provenance.end() ||
                               (has_index && name == model::kIndexColumn);
      if (!config.metadata && is_metadata) continue;
      table.columns.push_back(i);
      fields.push_back(source.field(i));
    }
    for (std::size_t i = 0; i < at.partition_by.size(); ++i) {
      const auto& expression = config.partition_by[i];
      const auto here = config.partition_by.begin() + static_cast<std::ptrdiff_t>(i);
      const auto problem = std::find(config.partition_by.begin(), here, expression) != here
                               ? fmt::format("'{}' is here twice", expression)
                               : AddPartitionColumn(expression, source, table, fields);
      if (!problem.empty()) {
        Add(*at.partition_by[i], fmt::format("table '{}': partition_by: {}", config.name, problem));
      }
    }
    if (!at.partition_by.empty() &&
        table.partition_columns.size() - table.derived_dates.size() == table.columns.size()) {
      return Add(*at.partition_by[0],
                 fmt::format("table '{}': partition_by names every column; a file needs at least one", config.name));
    }
    table.schema = arrow::schema(std::move(fields));
    PlanRescued(flow_.inputs[flow_.relations[*relation].input].decode, table);
    if (!config.route.empty() && !PlanRoute(config, at, table)) return;
    CheckCreation(at.name, "table", table);
    flow_.tables.push_back(std::move(table));
  }

  // false: there is a finding.
  bool PlanRoute(const TableConfig& config, const ConfigNodes::Table& at, TablePlan& table) {
    const auto pattern = RoutePattern::Parse(config.name);
    if (at.name == nullptr || at.route == nullptr) return false;
    const auto& relation = flow_.relations[table.relation];
    const int column = relation.schema->GetFieldIndex(config.route);
    const auto refuse = [&](const std::string& why) {
      Add(*at.route, fmt::format("table '{}': route: {}", config.name, why));
      return false;
    };
    if (!pattern || pattern->column != config.route) {
      return refuse(fmt::format("'{}' has not the column '{}' in braces", config.name, config.route));
    }
    if (column < 0) {
      return refuse(fmt::format("there is no column '{}'{}", config.route,
                                DidYouMean(config.route, relation.schema->field_names())));
    }
    const auto& type = *relation.schema->field(column)->type();
    const bool is_encoded = type.id() == arrow::Type::DICTIONARY;
    const auto& values = is_encoded ? *static_cast<const arrow::DictionaryType&>(type).value_type() : type;
    if (values.id() != arrow::Type::STRING && values.id() != arrow::Type::BOOL &&
        !arrow::is_signed_integer(values.id())) {
      return refuse(
          fmt::format("'{}' is {}; it must be text, whole numbers or booleans", config.route, type.ToString()));
    }
    for (int r = table.relation; r >= 0; r = flow_.relations[r].parent) {
      if (flow_.relations[r].lookups.empty()) continue;
      return refuse(
          fmt::format("transform '{}' joins a lookup, which may be another when a record is read again after a "
                      "failure: the record could end in two tables, or in none",
                      flow_.relations[r].name));
    }
    std::string origin = relation.origin.columns[static_cast<std::size_t>(column)];
    for (const auto& condition : relation.origin.conditions) origin += " WHERE " + condition;
    table.route = RoutePlan{.pattern = *pattern, .column = column, .max = config.route_max, .origin = origin};
    table.adds_columns = false;  // What nobody declared stays in the rescued column.
    return true;
  }

  void KeepNamesFromRoutes() {
    std::set<std::string> taken = {AsciiLower(config_.name + "_replays")};
    for (const auto& table : flow_.tables) {
      taken.insert(AsciiLower(table.route ? table.route->pattern.IndexTable() : table.name));
      if (table.final_table) taken.insert(AsciiLower(table.final_table->name));
    }
    for (auto& table : flow_.tables) {
      if (table.route) table.route->taken = taken;
    }
  }

  // What is wrong with it; empty: the table has it.
  static std::string AddPartitionColumn(const std::string& expression, const arrow::Schema& source, TablePlan& table,
                                        arrow::FieldVector& fields) {
    const auto date_of = DateArgument(expression);
    if (!date_of && expression.find('(') != std::string::npos) {
      return fmt::format("'{}' is neither a column nor date(column)", expression);
    }
    const auto column = date_of.value_or(expression);
    const int index = source.GetFieldIndex(column);
    // date(x) may use a column that the table itself leaves out.
    const bool is_kept = std::find(table.columns.begin(), table.columns.end(), index) != table.columns.end();
    if (index < 0 || (!date_of && !is_kept)) {
      std::vector<std::string> kept;
      for (const int i : table.columns) kept.push_back(source.field(i)->name());
      return fmt::format("there is no column '{}'{}", column, DidYouMean(column, kept));
    }
    const auto& type = *source.field(index)->type();
    if (!date_of) {
      if (!delta::CanPartition(type)) {
        return fmt::format("'{}' is {}; a table cannot be partitioned by it", column, type.ToString());
      }
      table.partition_columns.push_back(column);
      return "";
    }
    if (type.id() != arrow::Type::TIMESTAMP) {
      return fmt::format("date({}) needs a timestamp, and it is {}", column, type.ToString());
    }
    const std::string derived = column + "_date";
    if (source.GetFieldByName(derived) != nullptr) {
      return fmt::format("date({}) adds the column {}, which is there already", column, derived);
    }
    table.derived_dates.push_back(column);
    table.partition_columns.push_back(derived);
    fields.push_back(arrow::field(derived, arrow::date32()));
    return "";
  }

  void PlanAggregateTable(const AggregateConfig& config, const ConfigNodes::Aggregate& at) {
    if (at.name == nullptr || at.sql == nullptr) return;
    const auto input = process::AggregateInputOf(*session_, config.name, config.sql);
    if (!input.ok()) return AddSqlFinding(*at.sql, config.sql, input.status());
    const auto from = RelationNamed(*input);
    if (!from) return Add(*at.sql, UnknownRelation("aggregate '" + config.name + "'", *input));
    const auto relation = PlannedRelation(*from);
    if (!relation) return;
    auto plan = process::PlanAggregate(*session_, config.name, config.sql, flow_.relations[*relation].schema,
                                       EventTimeIn(flow_.relations[*relation]));
    if (!plan.ok()) return AddSqlFinding(*at.sql, config.sql, plan.status());
    std::vector<std::string> inputs;
    for (const auto& taken : plan->inputs) inputs.push_back(taken.sql);
    auto origin = flow_.relations[*relation].origin.Through(*session_, plan->input_schema, inputs, plan->where_sql);
    if (!origin.ok()) return AddSqlFinding(*at.sql, config.sql, origin.status());
    plan->definition.group_values_max = config.group_values_max;
    TablePlan table{.name = config.name,
                    .kind = TableKind::kAggregate,
                    .relation = *relation,
                    .schema = model::PartialSchema(plan->definition),
                    .aggregate = *std::move(plan),
                    .origin = *std::move(origin),
                    .commit = config.commit,
                    .properties = config.properties,
                    .retention = config.retention};
    if (table.retention && !table.aggregate->definition.window.has_windows()) {
      Add(*at.name,
          fmt::format("aggregate '{}': retention removes windows that are over, and it has none", config.name));
    }
    CheckCreation(at.name, "aggregate", table);
    if (at.final_table != nullptr) PlanFinalTable(config, *at.final_table, table);
    flow_.tables.push_back(std::move(table));
  }

  // A column is the time of the events if that is its origin, whatever transforms call it. Another column may be read
  // from the same field, as text.
  std::optional<process::EventTimeColumn> EventTimeIn(const RelationPlan& relation) const {
    const auto& input = flow_.inputs[relation.input];
    if (!input.event_time) return std::nullopt;
    process::EventTimeColumn time{.name = input.event_time->column};
    if (input.event_time_column < 0) return time;  // Which has a finding.
    const auto& events = flow_.relations[relation.input];
    for (int i = 0; i < relation.schema->num_fields() && time.column < 0; ++i) {
      const bool is_time =
          relation.origin.columns[i] == events.origin.columns[input.event_time_column] &&
          relation.schema->field(i)->type()->Equals(events.schema->field(input.event_time_column)->type());
      if (is_time) time.column = i;
    }
    return time;
  }

  void PlanFinalTable(const AggregateConfig& config, const ConfigNode& node, TablePlan& table) {
    auto schema = FinalSchema(*session_, table.aggregate->definition);
    if (!schema.ok()) {
      Add(node, fmt::format("aggregate '{}': final: {}", config.name, schema.status().message()));
    } else if (!flow_.inputs[flow_.relations[table.relation].input].event_time) {
      Add(node,
          fmt::format("aggregate '{}': final: no window is ever complete without event_time: give event_time.column",
                      config.name));
    } else {
      table.final_table = FinalPlan{config.final_table, *std::move(schema)};
    }
  }

  // Whether it can be made in an empty lake.
  void CheckCreation(const ConfigNode* node, const std::string& what, const TablePlan& table) {
    if (node == nullptr) return;
    delta::CreateOptions options{.schema = table.schema, .partition_columns = table.partition_columns};
    // A property that is wrong whatever the table has a finding of its own.
    if (delta::CheckTableProperties(table.properties).ok()) options.configuration = table.properties;
    const Status fits = delta::CheckCreateOptions(options);
    if (!fits.ok()) Add(*node, fmt::format("{} '{}': {}", what, table.name, fits.message()));
  }

  const PipelineConfig& config_;
  const ConfigNodes& nodes_;
  const LookupAccess lookup_access_;
  Findings& findings_;
  Status unreachable_ = Status::OK();
  process::EvaluatorSessions sessions_;
  std::shared_ptr<sql::SqlSession> session_;  ///< Of these; null if there is no SQL.
  std::vector<std::string> input_names_;
  std::vector<std::string> relation_names_;                 ///< Of the transforms.
  std::vector<std::optional<std::string>> inputs_;          ///< Of the transforms; nullopt: there is a finding.
  std::map<std::string, std::vector<std::string>> joined_;  ///< By transform, the names of its lookups.
  std::map<std::string, std::optional<int>> relations_{};   ///< In flow_; nullopt: it, or what it reads, has a finding.
  Dataflow flow_;
};

// nullptr: none of the input's takes it.
const TopicPattern* FirstOf(const InputPlan& input, const std::string& topic) {
  const auto pattern =
      std::find_if(input.patterns.begin(), input.patterns.end(), [&topic](const auto& p) { return p.Matches(topic); });
  return pattern == input.patterns.end() ? nullptr : &*pattern;
}

// Of a configuration that is in no file: everything is there, and nobody knows where.
ConfigNodes NodesInCode(const PipelineConfig& config) {
  static const ConfigNode kNowhere{};
  ConfigNodes nodes;
  nodes.pipeline = nodes.embedded_path = &kNowhere;
  nodes.inputs.clear();
  for (const auto& input : config.inputs) {
    auto& at = nodes.inputs.emplace_back();
    if (config.inputs.size() > 1) {
      at.path = "inputs." + input.name;
      at.name = &kNowhere;
    }
    at.columns = at.event_time_column = &kNowhere;
    at.topics.assign(input.topics.size(), &kNowhere);
    if (input.dedupe) at.dedupe_by.assign(input.dedupe->by.size(), &kNowhere);
  }
  nodes.lookups.assign(config.lookups.size(), {&kNowhere, &kNowhere});
  nodes.transforms.assign(config.transforms.size(), {&kNowhere, &kNowhere});
  for (const auto& aggregate : config.aggregates) {
    nodes.aggregates.push_back({&kNowhere, &kNowhere, aggregate.final_table.empty() ? nullptr : &kNowhere});
  }
  for (const auto& table : config.tables) {
    auto& at = nodes.tables.emplace_back();
    at.name = at.from = at.route = &kNowhere;
    at.partition_by.assign(table.partition_by.size(), &kNowhere);
  }
  return nodes;
}

}  // namespace

std::string_view ToString(TableKind kind) {
  switch (kind) {
    case TableKind::kEvents:
      return "events";
    case TableKind::kAggregate:
      return "aggregate";
    case TableKind::kDeadLetters:
      return "dead_letters";
    case TableKind::kFinal:
      return "final";
  }
  return "events";
}

std::optional<int> Dataflow::FindInput(const std::string& topic) const {
  const auto find = [this](auto reads) -> std::optional<int> {
    const auto input = std::find_if(inputs.begin(), inputs.end(), reads);
    return input == inputs.end() ? std::nullopt : std::optional(static_cast<int>(input - inputs.begin()));
  };
  const auto named = find([&](const InputPlan& input) {
    return std::find(input.topics.begin(), input.topics.end(), topic) != input.topics.end();
  });
  return named ? named : find([&](const InputPlan& input) { return FirstOf(input, topic) != nullptr; });
}

int Dataflow::InputOf(const std::string& topic) const {
  const auto input = FindInput(topic);
  MILLRACE_CHECK(input.has_value(), "no input reads topic {}", topic);
  return *input;
}

std::vector<std::string> Dataflow::PatternsOf(const std::string& topic) const {
  std::vector<std::string> patterns;
  const auto input = FindInput(topic);
  if (!input) return patterns;
  const auto& reader = inputs[static_cast<std::size_t>(*input)];
  if (std::find(reader.topics.begin(), reader.topics.end(), topic) != reader.topics.end()) return patterns;
  for (const auto& pattern : reader.patterns) {
    if (pattern.Matches(topic)) patterns.push_back(pattern.text());
  }
  return patterns;
}

std::vector<std::string> Dataflow::topics() const {
  std::vector<std::string> all;
  for (const auto& input : inputs) all.insert(all.end(), input.topics.begin(), input.topics.end());
  return all;
}

bool Dataflow::has_patterns() const {
  return std::any_of(inputs.begin(), inputs.end(), [](const auto& input) { return !input.patterns.empty(); });
}

Result<std::vector<std::string>> Dataflow::TopicsAmong(std::vector<std::string> there) const {
  auto read = topics();
  const std::set<std::string> named(read.begin(), read.end());
  std::sort(there.begin(), there.end());
  for (auto& topic : there) {
    if (named.contains(topic)) continue;
    const InputPlan* by = nullptr;
    for (const auto& input : inputs) {
      const auto* const pattern = FirstOf(input, topic);
      if (pattern == nullptr) continue;
      if (by != nullptr) {
        return InvalidInput(
            "the topic {} is taken by '{}' of the input {} and by '{}' of the input {}; an event has one shape: narrow "
            "one of them, or name the topic in the input that shall read it",
            topic, FirstOf(*by, topic)->text(), by->name, pattern->text(), input.name);
      }
      by = &input;
    }
    if (by != nullptr) read.push_back(std::move(topic));
  }
  return read;
}

std::vector<int> Dataflow::TablesOf(int input) const {
  std::vector<int> fed;
  for (int t = 0; t < num_data_tables(); ++t) {
    if (InputOfTable(t) == input) fed.push_back(t);
  }
  return fed;
}

std::vector<int> Dataflow::LookupsOf(int table) const {
  std::set<int> joined;
  for (int r = tables[table].relation; r >= 0; r = relations[r].parent) {
    joined.insert(relations[r].lookups.begin(), relations[r].lookups.end());
  }
  return {joined.begin(), joined.end()};
}

std::vector<std::string> Dataflow::StagesOf(int table) const {
  std::vector<std::string> stages = {"decode", "event_time"};
  const auto& plan = tables[table];
  for (int r = plan.relation; relations[r].parent >= 0; r = relations[r].parent) {
    stages.push_back("transform:" + relations[r].name);
  }
  if (plan.kind == TableKind::kAggregate) stages.push_back("aggregate:" + plan.name);
  if (plan.kind == TableKind::kEvents) stages.push_back("table:" + plan.name);
  return stages;
}

bool Dataflow::KeepsWatermark(int table) const {
  if (tables[table].kind == TableKind::kAggregate) return true;
  if (table == dead_letters()) return false;
  for (int other = 0; other < num_data_tables(); ++other) {
    if (tables[other].kind == TableKind::kAggregate && InputOfTable(other) == InputOfTable(table)) return false;
  }
  return true;
}

Dataflow PlanDataflow(const PipelineConfig& config, const ConfigNodes& nodes, LookupAccess lookups,
                      Findings& findings) {
  return Planner(config, nodes, lookups, findings).Plan();
}

Result<Dataflow> PlanDataflow(const PipelineConfig& config) {
  Findings findings;
  const auto nodes = NodesInCode(config);
  Planner planner(config, nodes, LookupAccess::kAll, findings);
  auto flow = planner.Plan();
  if (!planner.unreachable().ok()) return planner.unreachable();
  if (findings.empty()) return flow;
  std::vector<std::string> messages;
  for (const auto& finding : findings.Sorted()) messages.push_back(finding.message);
  return InvalidInput("{}", fmt::join(messages, "; "));
}

}  // namespace millrace::config
