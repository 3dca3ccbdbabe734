#include "query/sql_engine.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/table.h>
#include <arrow/util/byte_size.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "base/ascii_case.h"
#include "base/nearest_name.h"
#include "base/stoppable_lock.h"
#include "delta/data/data_file.h"
#include "delta/data/file_pruning.h"
#include "delta/data/scan.h"
#include "delta/log/log_replay.h"
#include "query/sql_question.h"
#include "sql/error_place.h"

namespace millrace::query {
namespace {

using std::chrono::steady_clock;

// Of the memory of all answers one statement draws a half, and of a small one all: DuckDB needs some MiB to do
// anything.
constexpr std::int64_t kStatementShare = 2;
constexpr std::int64_t kStatementBytesMin = 16 << 20;
// Of what a statement draws DuckDB has the half, what goes in and what comes out a quarter each.
constexpr int kEngineShare = 2;
constexpr int kInputShare = 4;
constexpr int kOutputShare = 4;

// Without the table's notes on its columns, and all of it nullable: what DuckDB's types can say.
std::shared_ptr<arrow::Schema> Plain(const arrow::Schema& schema) {
  arrow::FieldVector fields;
  for (const auto& field : schema.fields()) fields.push_back(arrow::field(field->name(), field->type()));
  return arrow::schema(std::move(fields));
}

// Rows of one column without values: for those who only count.
class CountedRows final : public arrow::RecordBatchReader {
 public:
  CountedRows(std::shared_ptr<arrow::Field> column, std::int64_t num_rows)
      : schema_(arrow::schema({std::move(column)})), left_(num_rows) {}
  std::shared_ptr<arrow::Schema> schema() const override { return schema_; }
  Status ReadNext(std::shared_ptr<arrow::RecordBatch>* out) override {
    constexpr std::int64_t kRowsAtOnce = 1 << 16;
    *out = nullptr;
    if (left_ == 0) return Status::OK();
    if (nulls_ == nullptr) {
      ASSIGN_OR_RETURN(nulls_, arrow::MakeArrayOfNull(schema_->field(0)->type(), std::min(left_, kRowsAtOnce)));
    }
    const std::int64_t num_rows = std::min(left_, nulls_->length());
    left_ -= num_rows;
    *out = arrow::RecordBatch::Make(schema_, num_rows, {nulls_->Slice(0, num_rows)});
    return Status::OK();
  }

 private:
  const std::shared_ptr<arrow::Schema> schema_;
  std::int64_t left_;
  std::shared_ptr<arrow::Array> nulls_;
};

// Live rows, if every file says how many it has.
std::optional<std::int64_t> NumRows(const delta::Snapshot& snapshot) {
  std::int64_t rows = 0;
  for (const auto& [key, file] : snapshot.files) {
    const auto live = delta::NumLiveRecords(file);
    if (!live) return std::nullopt;
    rows += *live;
  }
  return rows;
}

// The snapshot without its first files, as far as their rows are all among the first `*rows`; takes these off `*rows`.
delta::SnapshotPtr WithoutFirst(const delta::SnapshotPtr& snapshot, std::int64_t* rows) {
  auto rest = std::make_shared<delta::Snapshot>(*snapshot);
  delta::PersistentMap<delta::AddFile>::Builder files;
  bool passed = false;
  for (const auto& [key, file] : snapshot->files) {
    const auto live = passed ? std::nullopt : delta::NumLiveRecords(file);
    passed = passed || !live || *live > *rows;
    if (passed) {
      files.Add(key, file);
    } else {
      *rows -= *live;
    }
  }
  rest->files = std::move(files).Build();
  return rest;
}

// What one statement reads of one table, and has read.
struct Source {
  const SqlTable* table = nullptr;
  const SqlQuestion* question = nullptr;  // Outlives it.
  // Of a table of committed rows.
  std::shared_ptr<objectstore::ObjectStore> store{};
  delta::SnapshotPtr snapshot{};
  // Of an aggregate.
  std::shared_ptr<arrow::Table> rows{};
  std::vector<MissingSource> missing{};

  std::shared_ptr<arrow::Schema> schema{};
  ScanNeed need{};
  TableAsOf as_of{};
  std::set<std::string> columns{};  // That were asked for.
  delta::ScanCounts counts{};       // Of all its scans.
  std::int64_t rows_read = 0;
  std::int64_t bytes_read = 0;
};

// Counts what goes through.
class SourceReader final : public arrow::RecordBatchReader {
 public:
  SourceReader(std::shared_ptr<Source> source, std::shared_ptr<arrow::RecordBatchReader> rows,
               std::unique_ptr<delta::ScanCounts> counts)
      : source_(std::move(source)), counts_(std::move(counts)), rows_(std::move(rows)) {}
  ~SourceReader() override {
    rows_.reset();  // Nobody counts any more.
    source_->counts.files_read += counts_->files_read;
    source_->counts.row_groups += counts_->row_groups;
    source_->counts.row_groups_read += counts_->row_groups_read;
    source_->bytes_read += counts_->file_bytes_read;
  }
  std::shared_ptr<arrow::Schema> schema() const override { return rows_->schema(); }
  Status ReadNext(std::shared_ptr<arrow::RecordBatch>* out) override {
    RETURN_NOT_OK(rows_->ReadNext(out));
    if (*out != nullptr) source_->rows_read += (*out)->num_rows();
    return Status::OK();
  }

 private:
  const std::shared_ptr<Source> source_;
  const std::unique_ptr<delta::ScanCounts> counts_;  // Outlives rows_.
  std::shared_ptr<arrow::RecordBatchReader> rows_;
};

Result<std::shared_ptr<arrow::RecordBatchReader>> OpenSource(const std::shared_ptr<Source>& source,
                                                             const std::vector<int>& columns,
                                                             std::int64_t buffer_bytes_max) {
  delta::ScanOptions scan{.where = source->need.where, .buffer_bytes_max = buffer_bytes_max};
  for (const int column : columns) scan.columns.push_back(source->schema->field(column)->name());
  auto counts = std::make_unique<delta::ScanCounts>();
  // DuckDB takes the first column where it needs none.
  const bool counts_only = columns.size() == 1 && !source->question->MayUse(scan.columns[0]);
  const auto known = counts_only && scan.where.empty() ? NumRows(*source->snapshot) : std::nullopt;
  if (known) {
    return std::make_shared<SourceReader>(
        source, std::make_shared<CountedRows>(source->schema->field(columns[0]), *known), std::move(counts));
  }
  source->columns.insert(scan.columns.begin(), scan.columns.end());
  ASSIGN_OR_RETURN(auto rows, delta::OpenScan(source->store, source->snapshot, scan, counts.get()));
  return std::make_shared<SourceReader>(source, std::move(rows), std::move(counts));
}

// Windows and keys of an aggregate, as far as the scan's conditions say: the rest is DuckDB's.
Status Narrow(const model::AggregateDefinition& definition, const delta::Conjunction& where,
              AggregateRequest& request) {
  std::vector<std::string> conditions;
  for (const auto& comparison : where) {
    using delta::Comparator;
    const auto* number = comparison.values.size() == 1 ? std::get_if<std::int64_t>(&comparison.values[0]) : nullptr;
    if (comparison.column == model::kWindowStart && number != nullptr && definition.window.has_windows()) {
      const auto at_least = [&](UnixMicros from) {
        request.range.from = std::max(request.range.from.value_or(from), from);
      };
      const auto below = [&](UnixMicros to) { request.range.to = std::min(request.range.to.value_or(to), to); };
      if (*number == INT64_MAX) continue;
      if (comparison.comparator == Comparator::kGreaterEqual) at_least(*number);
      if (comparison.comparator == Comparator::kGreater) at_least(*number + 1);
      if (comparison.comparator == Comparator::kLess) below(*number);
      if (comparison.comparator == Comparator::kLessEqual) below(*number + 1);
      if (comparison.comparator == Comparator::kEqual) {
        at_least(*number);
        below(*number + 1);
      }
      continue;
    }
    const auto key = std::find_if(definition.keys.begin(), definition.keys.end(),
                                  [&](const auto& candidate) { return candidate.name == comparison.column; });
    if (key == definition.keys.end() || key->type->id() != arrow::Type::STRING || comparison.values.empty()) continue;
    if (comparison.comparator != Comparator::kEqual && comparison.comparator != Comparator::kIn) continue;
    std::vector<std::string> texts;
    for (const auto& value : comparison.values) texts.push_back(sql::QuoteLiteral(std::get<std::string>(value)));
    conditions.push_back(fmt::format("{} IN ({})", sql::QuoteIdentifier(key->name), fmt::join(texts, ", ")));
  }
  request.where = fmt::format("{}", fmt::join(conditions, " AND "));
  return Status::OK();
}

// Where in the statement DuckDB's message is about, in words.
Status WithPlace(const Status& status, const std::string& sql) {
  if (KindOf(status) != ErrorKind::kInvalidInput) return status;
  std::string message = status.message();
  const auto place = sql::TakeErrorPlace(message, sql);
  if (place) message += fmt::format(" at line {} column {}", place->line, place->column);
  return InvalidInput("{}", message);
}

// So that each column of a JSON object has a name of its own: a, a_1, a_2.
void MakeNamesUnique(std::vector<sql::ResultColumn>& columns) {
  std::set<std::string> taken;
  for (auto& column : columns) {
    std::string name = column.name;
    for (int i = 1; !taken.insert(name).second; ++i) name = fmt::format("{}_{}", column.name, i);
    column.name = std::move(name);
  }
}

}  // namespace

class SqlEngine::Impl {
 public:
  explicit Impl(Options options)
      : options_(std::move(options)),
        statement_bytes_(std::max(options_.memory->bytes_max() / kStatementShare,
                                  std::min(options_.memory->bytes_max(), kStatementBytesMin))),
        // No more than there is memory for.
        sessions_({.sessions_max = static_cast<int>(options_.memory->bytes_max() / statement_bytes_),
                   .memory_bytes = statement_bytes_ / kEngineShare,
                   .share = std::move(options_.sessions)}),
        open_(options_.tables.size()) {
    for (const auto& table : options_.tables) names_.push_back(table.name);
  }

  Result<Answer> Ask(const SqlRequest& request, const std::stop_token& stop) { return AskAt(request, nullptr, stop); }

  Result<sql::StatementShape> Describe(const std::string& sql, const std::stop_token& stop) {
    ASSIGN_OR_RETURN(auto session, sessions_.Take(stop));
    ASSIGN_OR_RETURN(const auto functions, Functions(*session));
    ASSIGN_OR_RETURN(const auto question, SqlQuestion::Read(*session, sql, names_, *functions));
    std::vector<std::shared_ptr<Source>> sources;
    for (const auto& name : question.tables) {
      ASSIGN_OR_RETURN(sources.emplace_back(), Resolve(*session, name, nullptr, stop));
      sources.back()->question = &question;
    }
    const Registered registered(*session, sources);
    RETURN_NOT_OK(RegisterAll(*session, sources));
    auto shape = session->Shape(question.select);
    if (!shape.ok()) return WithPlace(shape.status(), question.select);
    if (question.explain != Explain::kNo) {
      ASSIGN_OR_RETURN(auto explained, Explained({}, /*ran=*/false, nullptr, steady_clock::now()));
      shape->columns = std::move(explained.columns);
    }
    return shape;
  }

  Result<Answer> Rows(const RowsRequest& request, const std::stop_token& stop) {
    if (request.limit < 1) return InvalidInput("limit: a page has one row at least");
    const auto found = std::find(names_.begin(), names_.end(), request.table);
    if (found == names_.end()) {
      return NotFound("there is no table '{}'{}", request.table, DidYouMean(request.table, names_));
    }
    const auto index = static_cast<std::size_t>(found - names_.begin());
    if (options_.tables[index].aggregate != nullptr) {
      return InvalidInput("{0} is an aggregate: its merged rows are at /v1/aggregates/{0}", request.table);
    }
    RowsCursor cursor;
    std::optional<delta::TableVersion> version = request.version;
    if (!request.cursor.empty()) {
      if (request.version || request.timestamp_ms) {
        return InvalidInput("cursor: it has its version: leave version and timestamp out");
      }
      ASSIGN_OR_RETURN(cursor, ParseCursor(request));
      version = cursor.version;
    }
    if (request.version && request.timestamp_ms) return InvalidInput("version: it cannot stand beside timestamp");
    ASSIGN_OR_RETURN(Pinned pinned, Current(index, stop));
    if (request.timestamp_ms) {
      ASSIGN_OR_RETURN(version, delta::VersionAsOf(*pinned.store, *request.timestamp_ms));
    }
    if (version && *version != pinned.snapshot->version) {
      ASSIGN_OR_RETURN(pinned.snapshot, delta::LoadVersion(*pinned.store, *version));
    }
    std::int64_t rows_before = cursor.rows;
    // Rows come file after file then.
    if (rows_before > 0 && request.where.empty() && request.order_by.empty()) {
      pinned.snapshot = WithoutFirst(pinned.snapshot, &rows_before);
    }
    std::string sql;
    {
      ASSIGN_OR_RETURN(auto session, sessions_.Take(stop));
      ASSIGN_OR_RETURN(sql, RowsSql(*session, request, *pinned.snapshot->schema, rows_before));
    }
    ASSIGN_OR_RETURN(auto answer, AskAt({.sql = std::move(sql), .rows_max = request.limit + 1}, &pinned, stop));
    if (answer.rows->num_rows() > request.limit) {
      answer.rows = answer.rows->Slice(0, request.limit);
      answer.next = CursorText(request, {pinned.snapshot->version, cursor.rows + request.limit});
    }
    answer.as_of = std::move(answer.tables->front().as_of);
    answer.tables.reset();
    return answer;
  }

 private:
  /// A table at the version that is to be read.
  struct Pinned {
    std::size_t index = 0;
    std::shared_ptr<objectstore::ObjectStore> store;
    delta::SnapshotPtr snapshot;
  };

  Result<Answer> AskAt(const SqlRequest& request, const Pinned* pinned, const std::stop_token& stop) {
    const auto begun = steady_clock::now();
    const Counted counted(num_statements_);
    if (counted.number() > options_.statements_max) {
      return Transient("{} statements of SQL run or wait for their turn, no more are taken", options_.statements_max);
    }
    ASSIGN_OR_RETURN(auto session, sessions_.Take(stop));
    ASSIGN_OR_RETURN(const auto functions, Functions(*session));
    ASSIGN_OR_RETURN(const auto question, SqlQuestion::Read(*session, request.sql, names_, *functions));
    // No other answer waits while it holds memory, and all statements that have a session need no more than there is:
    // so the second of these does not wait for ever. The first is held until the answer has been sent.
    ASSIGN_OR_RETURN(auto output, options_.memory->Draw(statement_bytes_ / kOutputShare, stop));
    ASSIGN_OR_RETURN(const auto working,
                     options_.memory->Draw(statement_bytes_ - statement_bytes_ / kOutputShare, stop));

    std::vector<std::shared_ptr<Source>> sources;
    for (const auto& name : question.tables) {
      ASSIGN_OR_RETURN(sources.emplace_back(), Resolve(*session, name, pinned, stop));
      sources.back()->question = &question;
    }
    RETURN_NOT_OK(AddNeeds(*session, question, request.parameters, sources));
    const Registered registered(*session, sources);
    if (question.explain == Explain::kPlan) {
      // As running it would refuse what is wrong.
      RETURN_NOT_OK(RegisterAll(*session, sources));
      const auto columns = session->Describe(question.select);
      if (!columns.ok() && request.parameters.empty()) return WithPlace(columns.status(), question.select);
      return Explained(sources, /*ran=*/false, std::move(output), begun);
    }
    RETURN_NOT_OK(AskAggregates(question, request, sources, stop));
    RETURN_NOT_OK(RegisterAll(*session, sources));
    auto result = session->Run(question.select, request.parameters,
                               {.rows_max = request.rows_max, .bytes_max = statement_bytes_ / kOutputShare}, stop);
    if (!result.ok()) return WithPlace(result.status(), question.select);
    if (question.explain == Explain::kAnalyze) return Explained(sources, /*ran=*/true, std::move(output), begun);
    MakeNamesUnique(result->columns);
    std::vector<std::string> names;
    for (const auto& column : result->columns) names.push_back(column.name);
    Answer answer;
    ASSIGN_OR_RETURN(answer.rows, result->rows->RenameColumns(names));
    answer.columns = std::move(result->columns);
    return Finished(std::move(answer), sources, std::move(output), begun);
  }

  /// One of so many, this one with them.
  class Counted {
   public:
    explicit Counted(std::atomic<int>& all) : all_(all), number_(++all) {}
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() { --all_; }
    int number() const { return number_; }

   private:
    std::atomic<int>& all_;
    const int number_;
  };

  /// The session, which others take after this statement, forgets its tables.
  class Registered {
   public:
    Registered(sql::SqlSession& session, const std::vector<std::shared_ptr<Source>>& sources)
        : session_(session), sources_(sources) {}
    Registered(const Registered&) = delete;
    Registered& operator=(const Registered&) = delete;
    ~Registered() {
      for (const auto& source : sources_) session_.Forget(source->table->name);
    }

   private:
    sql::SqlSession& session_;
    const std::vector<std::shared_ptr<Source>>& sources_;
  };

  struct Open {
    std::timed_mutex mutex;  // Held during requests to the store.
    std::shared_ptr<delta::Table> table;
  };

  Result<std::shared_ptr<const std::set<std::string>>> Functions(sql::SqlSession& session) {
    const std::scoped_lock lock(functions_mutex_);
    if (functions_ == nullptr) {
      ASSIGN_OR_RETURN(auto functions, SqlQuestion::AllowedFunctions(session));
      functions_ = std::make_shared<const std::set<std::string>>(std::move(functions));
    }
    return functions_;
  }

  /// The table as it is now. Opens it, or follows its log.
  Result<Pinned> Current(std::size_t index, const std::stop_token& stop) {
    Open& open = open_[index];
    ASSIGN_OR_RETURN(const auto lock, LockUnlessStopped(open.mutex, stop));
    if (open.table == nullptr) {
      auto opened = options_.tables[index].open();
      if (!opened.ok()) return WithContext(opened.status(), "table {}", names_[index]);
      open.table = *std::move(opened);
      return Pinned{index, open.table->store(), open.table->snapshot()};
    }
    auto refreshed = open.table->Refresh();
    if (!refreshed.ok()) return WithContext(refreshed.status(), "table {}", names_[index]);
    return Pinned{index, open.table->store(), *std::move(refreshed)};
  }

  Result<std::shared_ptr<Source>> Resolve(sql::SqlSession& session, const std::string& name, const Pinned* pinned,
                                          const std::stop_token& stop) {
    const auto index = static_cast<std::size_t>(std::find(names_.begin(), names_.end(), name) - names_.begin());
    auto source = std::make_shared<Source>();
    source->table = &options_.tables[index];
    source->as_of.name = name;
    if (auto* const aggregate = source->table->aggregate) {
      ASSIGN_OR_RETURN(const auto columns, aggregate->Columns(stop));
      // DuckDB says what its types are to Arrow.
      std::vector<std::string> nulls;
      for (const auto& column : columns) {
        nulls.push_back(fmt::format("CAST(NULL AS {}) AS {}", column.duckdb_type, sql::QuoteIdentifier(column.name)));
      }
      ASSIGN_OR_RETURN(const auto empty, session.Query(fmt::format("SELECT {}", fmt::join(nulls, ", "))));
      source->schema = empty->schema();
      return source;
    }
    Pinned read;
    if (pinned != nullptr && pinned->index == index) {
      read = *pinned;
    } else {
      ASSIGN_OR_RETURN(read, Current(index, stop));
    }
    source->store = std::move(read.store);
    source->snapshot = std::move(read.snapshot);
    source->schema = Plain(*source->snapshot->schema);
    source->as_of.as_of.version = source->snapshot->version;
    if (source->table->next_offsets) source->as_of.as_of.offsets = source->table->next_offsets(*source->snapshot);
    return source;
  }

  static Status AddNeeds(sql::SqlSession& session, const SqlQuestion& question,
                         const std::vector<sql::Parameter>& parameters,
                         const std::vector<std::shared_ptr<Source>>& sources) {
    std::map<std::string, std::shared_ptr<arrow::Schema>> schemas;
    for (const auto& source : sources) schemas[source->table->name] = source->schema;
    ASSIGN_OR_RETURN(auto needs, ScanNeeds(session, question, schemas, parameters));
    for (const auto& source : sources) {
      if (const auto need = needs.find(source->table->name); need != needs.end())
        source->need = std::move(need->second);
    }
    return Status::OK();
  }

  // Each aggregate once, whatever the statement does with it: all of the answer is of one moment of each.
  Status AskAggregates(const SqlQuestion& question, const SqlRequest& request,
                       const std::vector<std::shared_ptr<Source>>& sources, const std::stop_token& stop) {
    std::int64_t kept = 0;
    const std::int64_t kept_max = statement_bytes_ / kInputShare;
    for (const auto& source : sources) {
      auto* const reader = source->table->aggregate;
      if (reader == nullptr) continue;
      const auto& definition = reader->definition();
      AggregateRequest asked{.freshness = request.freshness};
      RETURN_NOT_OK(Narrow(definition, source->need.where, asked));
      for (const auto& measure : definition.measures) {
        if (question.MayUse(measure.name)) asked.measures.push_back(measure.name);
      }
      if (asked.measures.empty() && !definition.measures.empty()) asked.measures = {definition.measures[0].name};
      // DuckDB does not run yet, so its memory is free.
      const auto memory = AnswerMemory::Make(statement_bytes_ - kept, {});
      auto answer = reader->Ask(asked, stop, memory.get());
      if (!answer.ok()) return WithContext(answer.status(), "{}", source->table->name);
      if (!answer->errors.empty()) {
        const auto& error = answer->errors.front();
        return InvalidInput("{}: {} has no value in {} of its groups: {} Leave it out, or choose other windows or keys",
                            source->table->name, error.measure, answer->errors.size(), error.detail);
      }
      ASSIGN_OR_RETURN(source->rows, InShape(*answer->rows, *source->schema));
      kept += arrow::util::TotalBufferSize(*source->rows);
      if (kept > kept_max) {
        return TooLarge(
            "{}: the statement needs {} bytes of merged rows, {} are taken: choose fewer windows, with a "
            "condition on window_start",
            source->table->name, kept, kept_max);
      }
      source->rows_read = answer->rows_read;
      source->bytes_read = answer->bytes_read;
      source->as_of.as_of = std::move(answer->as_of);
      source->missing = std::move(answer->missing);
      source->as_of.is_hot = request.freshness == Freshness::kHot && reader->has_hot_side();
      for (const auto& name : answer->rows->ColumnNames()) source->columns.insert(name);
    }
    return Status::OK();
  }

  // The rows with all columns of `schema`: those that were not asked for are null, and nobody looks at them.
  static Result<std::shared_ptr<arrow::Table>> InShape(const arrow::Table& rows, const arrow::Schema& schema) {
    std::vector<std::shared_ptr<arrow::ChunkedArray>> columns;
    for (const auto& field : schema.fields()) {
      auto column = rows.GetColumnByName(field->name());
      if (column == nullptr) {
        ASSIGN_OR_RETURN(const auto nulls, arrow::MakeArrayOfNull(field->type(), rows.num_rows()));
        column = std::make_shared<arrow::ChunkedArray>(nulls);
      }
      columns.push_back(std::move(column));
    }
    return arrow::Table::Make(arrow::schema(schema.fields()), std::move(columns), rows.num_rows());
  }

  Status RegisterAll(sql::SqlSession& session, const std::vector<std::shared_ptr<Source>>& sources) const {
    const auto num_scans = std::max<std::int64_t>(1, std::ssize(sources));
    for (const auto& source : sources) {
      if (source->table->aggregate == nullptr) {
        const std::int64_t buffer = statement_bytes_ / kInputShare / num_scans;
        RETURN_NOT_OK(session.RegisterStream(
            source->table->name, source->schema,
            [source, buffer](const std::vector<int>& columns) { return OpenSource(source, columns, buffer); },
            NumRows(*source->snapshot)));
        continue;
      }
      std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
      if (source->rows != nullptr) {
        arrow::TableBatchReader reader(*source->rows);
        ASSIGN_OR_RETURN(batches, reader.ToRecordBatches());
      }
      RETURN_NOT_OK(session.Register(source->table->name, source->schema, std::move(batches)));
    }
    return Status::OK();
  }

  Result<Answer> Explained(const std::vector<std::shared_ptr<Source>>& sources, bool ran, std::shared_ptr<void> output,
                           steady_clock::time_point begun) const {
    arrow::StringBuilder table, columns, condition;
    arrow::Int64Builder version, files, files_read, files_skipped, row_groups, row_groups_read, rows_read;
    for (const auto& source : sources) {
      const bool is_table = source->table->aggregate == nullptr;
      const bool counted = is_table && ran;
      RETURN_NOT_OK(table.Append(source->table->name));
      RETURN_NOT_OK(source->as_of.as_of.version >= 0 ? version.Append(source->as_of.as_of.version)
                                                     : version.AppendNull());
      RETURN_NOT_OK(ran ? columns.Append(fmt::format("{}", fmt::join(source->columns, ", "))) : columns.AppendNull());
      RETURN_NOT_OK(source->need.sql.empty() ? condition.AppendNull() : condition.Append(source->need.sql));
      if (is_table) {
        const auto all = static_cast<std::int64_t>(source->snapshot->files.size());
        std::int64_t read = source->counts.files_read;
        if (!ran) {
          ASSIGN_OR_RETURN(const auto pruner, delta::FilePruner::Make(*source->snapshot, source->need.where));
          for (const auto& [key, file] : source->snapshot->files) {
            ASSIGN_OR_RETURN(const bool may_match, pruner->MayMatch(file));
            read += may_match ? 1 : 0;
          }
        }
        RETURN_NOT_OK(files.Append(all));
        RETURN_NOT_OK(files_read.Append(read));
        RETURN_NOT_OK(files_skipped.Append(std::max<std::int64_t>(0, all - read)));
      } else {
        RETURN_NOT_OK(files.AppendNull());
        RETURN_NOT_OK(files_read.AppendNull());
        RETURN_NOT_OK(files_skipped.AppendNull());
      }
      RETURN_NOT_OK(counted ? row_groups.Append(source->counts.row_groups) : row_groups.AppendNull());
      RETURN_NOT_OK(counted ? row_groups_read.Append(source->counts.row_groups_read) : row_groups_read.AppendNull());
      RETURN_NOT_OK(ran ? rows_read.Append(source->rows_read) : rows_read.AppendNull());
    }
    Answer answer;
    arrow::FieldVector fields;
    arrow::ArrayVector arrays;
    const auto add = [&](const char* name, const char* type, arrow::ArrayBuilder& builder) -> Status {
      ASSIGN_OR_RETURN(arrays.emplace_back(), builder.Finish());
      fields.push_back(arrow::field(name, arrays.back()->type()));
      answer.columns.push_back({name, type});
      return Status::OK();
    };
    RETURN_NOT_OK(add("table", "VARCHAR", table));
    RETURN_NOT_OK(add("version", "BIGINT", version));
    RETURN_NOT_OK(add("columns", "VARCHAR", columns));
    RETURN_NOT_OK(add("condition", "VARCHAR", condition));
    RETURN_NOT_OK(add("files", "BIGINT", files));
    RETURN_NOT_OK(add("files_read", "BIGINT", files_read));
    RETURN_NOT_OK(add("files_skipped", "BIGINT", files_skipped));
    RETURN_NOT_OK(add("row_groups", "BIGINT", row_groups));
    RETURN_NOT_OK(add("row_groups_read", "BIGINT", row_groups_read));
    RETURN_NOT_OK(add("rows_read", "BIGINT", rows_read));
    answer.rows = arrow::Table::Make(arrow::schema(std::move(fields)), arrays);
    return Finished(std::move(answer), sources, std::move(output), begun);
  }

  Answer Finished(Answer answer, const std::vector<std::shared_ptr<Source>>& sources, std::shared_ptr<void> output,
                  steady_clock::time_point begun) const {
    answer.tables.emplace();
    answer.as_of.watermark = WatermarkOf(sources);
    for (const auto& source : sources) {
      for (const auto& missing : source->missing) {
        const auto same = [&missing](const MissingSource& known) { return known.name == missing.name; };
        if (std::none_of(answer.missing.begin(), answer.missing.end(), same)) answer.missing.push_back(missing);
      }
      answer.rows_read += source->rows_read;
      answer.bytes_read += source->bytes_read;
      answer.tables->push_back(source->as_of);
    }
    answer.held = std::move(output);
    answer.elapsed_seconds = std::chrono::duration<double>(steady_clock::now() - begun).count();
    return answer;
  }

  /// The lowest of the aggregates'.
  std::optional<UnixMicros> WatermarkOf(const std::vector<std::shared_ptr<Source>>& sources) const {
    std::optional<UnixMicros> lowest;
    bool has_aggregates = false;
    for (const auto& source : sources) {
      if (source->table->aggregate == nullptr) continue;
      const auto& watermark = source->as_of.as_of.watermark;
      lowest = has_aggregates ? std::min(lowest, watermark) : watermark;  // None is the lowest of all.
      has_aggregates = true;
    }
    if (has_aggregates || !options_.watermark) return lowest;
    return options_.watermark();
  }

  Options options_;
  const std::int64_t statement_bytes_;
  sql::SessionPool sessions_;
  std::vector<std::string> names_;
  std::vector<Open> open_;  // By table.
  std::atomic<int> num_statements_ = 0;
  std::mutex functions_mutex_;
  std::shared_ptr<const std::set<std::string>> functions_;
};

SqlEngine::SqlEngine(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
SqlEngine::~SqlEngine() = default;

Result<Answer> SqlEngine::Ask(const SqlRequest& request, const std::stop_token& stop) {
  return impl_->Ask(request, stop);
}

Result<sql::StatementShape> SqlEngine::Describe(const std::string& sql, const std::stop_token& stop) {
  return impl_->Describe(sql, stop);
}

Result<Answer> SqlEngine::Rows(const RowsRequest& request, const std::stop_token& stop) {
  return impl_->Rows(request, stop);
}

}  // namespace millrace::query
