#include "postgres/catalog.h"

#include <arrow/builder.h>
#include <arrow/record_batch.h>
#include <arrow/table.h>
#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <optional>
#include <set>
#include <utility>

#include "base/stoppable_lock.h"
#include "postgres/catalog_relations_internal.h"
#include "postgres/types.h"
#include "query/sql_question.h"
#include "sql/error_place.h"

namespace millrace::postgres {
namespace {

namespace json = boost::json;
using std::chrono::steady_clock;

constexpr int kSessionsMax = 2;
constexpr std::int64_t kSessionBytes = 32 << 20;
constexpr sql::ResultLimits kLimits{.rows_max = 200'000, .bytes_max = 8 << 20};
constexpr std::chrono::seconds kListingAge{1};

constexpr std::uint32_t kFirstTableOid = 16384;
constexpr std::uint32_t kEndOfOids = 1U << 31;
// The catalog's own relations are numbered from here, in their order; information_schema is 13000 itself.
constexpr std::int64_t kFirstCatalogOid = 12000;
constexpr std::int64_t kFirstInformationOid = 13001;

// Columns of one of the small relations, a row at a time.
class CatalogRows {
 public:
  explicit CatalogRows(arrow::FieldVector fields) : schema_(arrow::schema(std::move(fields))) {
    for (const auto& field : schema_->fields()) {
      if (field->type()->id() == arrow::Type::STRING) {
        builders_.push_back(std::make_unique<arrow::StringBuilder>());
      } else {
        builders_.push_back(std::make_unique<arrow::Int64Builder>());
      }
    }
  }

  template <typename... Values>
  Status Add(const Values&... values) {
    std::size_t column = 0;
    Status status;
    ((status &= Append(*builders_[column++], values)), ...);
    return status;
  }
  Result<std::shared_ptr<arrow::RecordBatch>> Finish() {
    arrow::ArrayVector arrays;
    for (const auto& builder : builders_) {
      ASSIGN_OR_RETURN(arrays.emplace_back(), builder->Finish());
    }
    const std::int64_t num_rows = arrays[0]->length();
    return arrow::RecordBatch::Make(schema_, num_rows, std::move(arrays));
  }

 private:
  static Status Append(arrow::ArrayBuilder& builder, std::string_view text) {
    return static_cast<arrow::StringBuilder&>(builder).Append(text);
  }
  static Status Append(arrow::ArrayBuilder& builder, std::int64_t number) {
    return static_cast<arrow::Int64Builder&>(builder).Append(number);
  }

  std::shared_ptr<arrow::Schema> schema_;
  std::vector<std::unique_ptr<arrow::ArrayBuilder>> builders_;
};

std::shared_ptr<arrow::Field> TextField(const char* name) { return arrow::field(name, arrow::utf8()); }
std::shared_ptr<arrow::Field> NumberField(const char* name) { return arrow::field(name, arrow::int64()); }

// The relations that do not depend on who asks.
struct Listing {
  steady_clock::time_point made;
  std::shared_ptr<arrow::RecordBatch> relations;
  std::shared_ptr<arrow::RecordBatch> columns;
};

// The type of one of the catalog's own columns, as clients are told it.
PgType TypeOfCatalogColumn(std::string_view type) {
  for (const auto& entry : Types()) {
    if (entry.name == type) return {.oid = entry.oid, .bytes = entry.bytes};
    if (type.ends_with("[]") && entry.name == type.substr(0, type.size() - 2)) {
      return {.oid = entry.array, .element = entry.oid};
    }
  }
  return {};
}

Result<std::shared_ptr<const Listing>> MakeListing(const std::vector<query::SqlTableShape>& tables) {
  CatalogRows relations(
      {NumberField("oid"), TextField("schema"), TextField("name"), TextField("kind"), NumberField("num_columns")});
  CatalogRows columns({NumberField("relation"), NumberField("number"), TextField("name"), NumberField("type"),
                       NumberField("bytes"), NumberField("modifier"), NumberField("element")});
  const auto add_column = [&](std::int64_t oid, std::int64_t number, std::string_view name, const PgType& type) {
    return columns.Add(oid, number, name, std::int64_t{type.oid}, std::int64_t{type.bytes}, std::int64_t{type.modifier},
                       std::int64_t{type.element});
  };
  std::vector<std::string> names;
  for (const auto& table : tables) names.push_back(table.name);
  const auto oids = TableOids(names);
  for (std::size_t t = 0; t < tables.size(); ++t) {
    const auto& table = tables[t];
    RETURN_NOT_OK(relations.Add(std::int64_t{oids[t]}, "public", table.name, table.is_aggregate ? "v" : "r",
                                std::ssize(table.columns)));
    std::int64_t number = 0;
    for (const auto& column : table.columns) {
      RETURN_NOT_OK(add_column(oids[t], ++number, column.name, TypeOf(column.duckdb_type)));
    }
  }
  std::int64_t catalog_oid = kFirstCatalogOid;
  std::int64_t information_oid = kFirstInformationOid;
  for (const auto& relation : CatalogRelations()) {
    const auto dot = relation.name.find('.');
    const bool is_information = dot != std::string_view::npos;
    const std::int64_t oid = is_information ? information_oid++ : catalog_oid++;
    const auto relation_columns = ColumnsOf(relation);
    RETURN_NOT_OK(relations.Add(oid, is_information ? relation.name.substr(0, dot) : "pg_catalog",
                                is_information ? relation.name.substr(dot + 1) : relation.name, "v",
                                std::ssize(relation_columns)));
    std::int64_t number = 0;
    for (const auto& [name, type] : relation_columns) {
      RETURN_NOT_OK(add_column(oid, ++number, name, TypeOfCatalogColumn(type)));
    }
  }
  auto listing = std::make_shared<Listing>();
  ASSIGN_OR_RETURN(listing->relations, relations.Finish());
  ASSIGN_OR_RETURN(listing->columns, columns.Finish());
  listing->made = steady_clock::now();
  return listing;
}

Status RegisterRows(sql::SqlSession& session, const char* name, std::shared_ptr<arrow::RecordBatch> rows) {
  auto schema = rows->schema();
  return session.Register(name, std::move(schema), {std::move(rows)});
}

Status RegisterCaller(sql::SqlSession& session, const Catalog::Caller& caller) {
  CatalogRows names({TextField("user_name"), TextField("database_name"), NumberField("process")});
  RETURN_NOT_OK(names.Add(caller.names.user, caller.names.database, std::int64_t{caller.process}));
  CatalogRows settings({TextField("name"), TextField("value")});
  std::string entries;
  if (caller.settings != nullptr) {
    for (const auto& [name, value] : *caller.settings) {
      RETURN_NOT_OK(settings.Add(name, value));
      entries +=
          fmt::format("{}{}: {}", entries.empty() ? "" : ", ", sql::QuoteLiteral(name), sql::QuoteLiteral(value));
    }
  }
  constexpr const char* kSetVariable = "SET VARIABLE door_settings = CAST(MAP {{{}}} AS MAP(VARCHAR, VARCHAR))";
  RETURN_NOT_OK(session.Query(fmt::format(kSetVariable, entries)).status());
  ASSIGN_OR_RETURN(auto named, names.Finish());
  RETURN_NOT_OK(RegisterRows(session, "door_caller", std::move(named)));
  ASSIGN_OR_RETURN(auto set, settings.Finish());
  return RegisterRows(session, "door_settings", std::move(set));
}

Status BeginSession(sql::SqlSession& session) {
  CatalogRows types(
      {NumberField("oid"), NumberField("array_oid"), NumberField("bytes"), TextField("name"), TextField("category")});
  for (const auto& type : Types()) {
    RETURN_NOT_OK(types.Add(std::int64_t{type.oid}, std::int64_t{type.array}, std::int64_t{type.bytes}, type.name,
                            std::string_view(&type.category, 1)));
  }
  ASSIGN_OR_RETURN(auto listed, types.Finish());
  RETURN_NOT_OK(RegisterRows(session, "door_types", std::move(listed)));
  ASSIGN_OR_RETURN(const auto nothing, MakeListing({}));
  RETURN_NOT_OK(RegisterRows(session, "door_relations", nothing->relations));
  RETURN_NOT_OK(RegisterRows(session, "door_columns", nothing->columns));
  RETURN_NOT_OK(RegisterCaller(session, {}));
  return WithContext(DefineCatalog(session), "the catalog of PostgreSQL's clients");
}

// What a column without an alias is called: DuckDB has its whole text, PostgreSQL the name of a function.
void NameColumns(const json::object& tree, std::vector<sql::ResultColumn>& columns) {
  const auto* const node = tree.at("statements").at(0).at("node").if_object();
  const auto* const listed = node == nullptr ? nullptr : node->if_contains("select_list");
  if (listed == nullptr || !listed->is_array() || listed->get_array().size() != columns.size()) return;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const auto& expression = listed->get_array()[i].get_object();
    if (!expression.at("alias").as_string().empty()) continue;
    const std::string_view type = expression.at("class").as_string();
    if (type == "STAR") return;
    if (type == "FUNCTION") columns[i].name = std::string(expression.at("function_name").as_string());
    if (type == "CASE") columns[i].name = "case";
  }
}

// Where DuckDB says that a mistake is: not where the client wrote it.
Status WithoutPlace(const Status& status, const std::string& sql) {
  if (KindOf(status) != ErrorKind::kInvalidInput) return status;
  std::string message = status.message();
  static_cast<void>(sql::TakeErrorPlace(message, sql));
  return InvalidInput("{}", message);
}

}  // namespace

std::vector<std::uint32_t> TableOids(const std::vector<std::string>& names) {
  std::vector<std::uint32_t> oids;
  std::set<std::uint32_t> taken;
  for (const auto& name : names) {
    std::uint32_t hash = 2166136261;  // FNV-1a.
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619;
    std::uint32_t oid = kFirstTableOid + hash % (kEndOfOids - kFirstTableOid);
    while (!taken.insert(oid).second) oid = oid + 1 == kEndOfOids ? kFirstTableOid : oid + 1;
    oids.push_back(oid);
  }
  return oids;
}

class Catalog::Impl {
 public:
  explicit Impl(Options options)
      : options_(std::move(options)),
        sessions_({.sessions_max = kSessionsMax,
                   .memory_bytes = kSessionBytes,
                   .share = ShareOf("PostgreSQL's catalog"),
                   .begin = BeginSession}) {
    for (const auto& relation : CatalogRelations()) names_.emplace_back(relation.name);
  }

  Result<query::Answer> Ask(const std::string& sql, const std::vector<sql::Parameter>& parameters, const Caller& caller,
                            const std::stop_token& stop) {
    MemoryShare running = ShareOf("PostgreSQL's catalog");
    ASSIGN_OR_RETURN(auto session, sessions_.Take(stop));
    running.Set(kSessionBytes);
    ASSIGN_OR_RETURN(const auto question, Prepare(*session, sql, caller, stop));
    auto result = session->Run(question.select, parameters, kLimits, stop);
    if (!result.ok()) return WithoutPlace(result.status(), sql);
    NameColumns(question.tree, result->columns);
    query::Answer answer;
    answer.rows = std::move(result->rows);
    answer.columns = std::move(result->columns);
    return answer;
  }

  Result<sql::StatementShape> Shape(const std::string& sql, const Caller& caller, const std::stop_token& stop) {
    ASSIGN_OR_RETURN(auto session, sessions_.Take(stop));
    ASSIGN_OR_RETURN(const auto question, Prepare(*session, sql, caller, stop));
    auto shape = session->Shape(question.select);
    if (!shape.ok()) return WithoutPlace(shape.status(), sql);
    NameColumns(question.tree, shape->columns);
    return shape;
  }

 private:
  MemoryShare ShareOf(const char* name) const {
    return options_.memory == nullptr ? MemoryShare() : options_.memory->NewShare(name);
  }

  // The statement, let through, in a session that knows what it needs to.
  Result<query::SqlQuestion> Prepare(sql::SqlSession& session, const std::string& sql, const Caller& caller,
                                     const std::stop_token& stop) {
    ASSIGN_OR_RETURN(const auto functions, Functions(session));
    auto question = query::SqlQuestion::Read(session, sql, names_, *functions);
    if (!question.ok() && KindOf(question.status()) == ErrorKind::kNotFound) {
      return NotFound("{} (a statement asks the catalog or the pipeline's tables, not both)",
                      question.status().message().substr(0, question.status().message().find("; there are")));
    }
    if (!question.ok()) return WithoutPlace(question.status(), sql);
    if (question->explain != query::Explain::kNo) return Unsupported("EXPLAIN is not for statements about the catalog");
    const bool needs_tables = !question->tables.empty() || sql.find("reg") != std::string::npos;
    if (needs_tables) {
      ASSIGN_OR_RETURN(const auto listing, CurrentListing(stop));
      RETURN_NOT_OK(RegisterRows(session, "door_relations", listing->relations));
      RETURN_NOT_OK(RegisterRows(session, "door_columns", listing->columns));
    }
    RETURN_NOT_OK(RegisterCaller(session, caller));
    return question;
  }

  Result<std::shared_ptr<const std::set<std::string>>> Functions(sql::SqlSession& session) {
    const std::scoped_lock lock(functions_mutex_);
    if (functions_ == nullptr) {
      ASSIGN_OR_RETURN(auto functions, query::SqlQuestion::AllowedFunctions(session));
      for (auto& name : CatalogFunctions()) functions.insert(std::move(name));
      functions.insert("user");  // current_user, as DuckDB's parser has it.
      functions_ = std::make_shared<const std::set<std::string>>(std::move(functions));
    }
    return functions_;
  }

  Result<std::shared_ptr<const Listing>> CurrentListing(const std::stop_token& stop) {
    ASSIGN_OR_RETURN(const auto lock, LockUnlessStopped(listing_mutex_, stop));
    if (listing_ != nullptr && steady_clock::now() - listing_->made < kListingAge) return listing_;
    ASSIGN_OR_RETURN(const auto tables, options_.tables(stop));
    ASSIGN_OR_RETURN(listing_, MakeListing(tables));
    return listing_;
  }

  const Options options_;
  sql::SessionPool sessions_;
  std::vector<std::string> names_;  // Constant after construction.
  std::mutex functions_mutex_;
  std::shared_ptr<const std::set<std::string>> functions_;
  std::timed_mutex listing_mutex_;  // Held while tables are looked at.
  std::shared_ptr<const Listing> listing_;
};

Catalog::Catalog(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Catalog::~Catalog() = default;

Result<query::Answer> Catalog::Ask(const std::string& sql, const std::vector<sql::Parameter>& parameters,
                                   const Caller& caller, const std::stop_token& stop) {
  return impl_->Ask(sql, parameters, caller, stop);
}

Result<sql::StatementShape> Catalog::Shape(const std::string& sql, const Caller& caller, const std::stop_token& stop) {
  return impl_->Shape(sql, caller, stop);
}

}  // namespace millrace::postgres
