#include "query/sql_engine.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/table.h>
#include <arrow/util/byte_size.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <list>
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
#include "query/pages_internal.h"
#include "query/parquet_source_internal.h"
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

// For how long the columns of a table that is not open are believed to be what they were.
constexpr std::chrono::seconds kColumnsAge{60};

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
  std::shared_ptr<sql::ParquetCounts> parquet{};  // Of what DuckDB reads itself; null: it does not.

  // Of all its scans, which may be on several threads.
  std::mutex mutex{};
  std::set<std::string> columns{};  // That were asked for.
  delta::ScanCounts counts{};
  std::int64_t rows_read = 0;
  std::int64_t bytes_read = 0;

  // As if nothing had been read.
  void Forget() {
    const std::scoped_lock lock(mutex);
    parquet = nullptr;
    columns.clear();
    counts = {};
    rows_read = bytes_read = 0;
  }
};

// Counts what goes through.
class SourceReader final : public arrow::RecordBatchReader {
 public:
  SourceReader(std::shared_ptr<Source> source, std::shared_ptr<arrow::RecordBatchReader> rows,
               std::unique_ptr<delta::ScanCounts> counts)
      : source_(std::move(source)), counts_(std::move(counts)), rows_(std::move(rows)) {}
  ~SourceReader() override {
    rows_.reset();  // Nobody counts any more.
    const std::scoped_lock lock(source_->mutex);
    source_->counts.files_read += counts_->files_read;
    source_->counts.row_groups += counts_->row_groups;
    source_->counts.row_groups_read += counts_->row_groups_read;
    source_->bytes_read += counts_->file_bytes_read;
  }
  std::shared_ptr<arrow::Schema> schema() const override { return rows_->schema(); }
  Status ReadNext(std::shared_ptr<arrow::RecordBatch>* out) override {
    RETURN_NOT_OK(rows_->ReadNext(out));
    if (*out == nullptr) return Status::OK();
    const std::scoped_lock lock(source_->mutex);
    source_->rows_read += (*out)->num_rows();
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
  {
    const std::scoped_lock lock(source->mutex);
    source->columns.insert(scan.columns.begin(), scan.columns.end());
  }
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
                   .num_threads = options_.num_threads,
                   .share = std::move(options_.sessions)}) {
    Add(std::move(options_.tables));
  }

  Result<Answer> Ask(const SqlRequest& request, const std::stop_token& stop) { return AskAt(request, nullptr, stop); }

  Result<sql::StatementShape> Describe(const std::string& sql, const std::stop_token& stop) {
    ASSIGN_OR_RETURN(auto session, sessions_.Take(stop));
    ASSIGN_OR_RETURN(const auto functions, Functions(*session));
    ASSIGN_OR_RETURN(const auto question, ReadQuestion(*session, sql, *functions, stop));
    std::vector<std::shared_ptr<Source>> sources;
    for (const auto& name : question.tables) {
      ASSIGN_OR_RETURN(sources.emplace_back(), Resolve(*session, name, nullptr, stop));
      sources.back()->question = &question;
    }
    const Registered registered(*session, sources);
    RETURN_NOT_OK(RegisterAll(*session, sources, Reader::kOurs));
    auto shape = session->Shape(question.select);
    if (!shape.ok()) return WithPlace(shape.status(), question.select);
    if (question.explain != Explain::kNo) {
      ASSIGN_OR_RETURN(auto explained, Explained({}, /*ran=*/false, nullptr, steady_clock::now()));
      shape->columns = std::move(explained.columns);
    }
    return shape;
  }

  Result<std::vector<SqlTableShape>> Tables(const std::stop_token& stop) {
    RETURN_NOT_OK(LookForMore(stop).status());
    std::vector<SqlTableShape> tables;
    for (Known* const known : AllKnown()) {
      auto columns = ColumnsOf(*known, stop);
      if (stop.stop_requested()) return Cancelled("stopped while looking at tables");
      if (!columns.ok()) continue;
      tables.push_back({known->table.name, known->table.aggregate != nullptr, *std::move(columns)});
    }
    std::sort(tables.begin(), tables.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return tables;
  }

  Result<Answer> Rows(const RowsRequest& request, const std::stop_token& stop) {
    if (request.limit < 1) return InvalidInput("limit: a page has one row at least");
    Known* known = Find(request.table);
    if (known == nullptr) {
      RETURN_NOT_OK(LookForMore(stop).status());
      known = Find(request.table);
    }
    if (known == nullptr) {
      return NotFound("there is no table '{}'{}", request.table, DidYouMean(request.table, Names()));
    }
    if (known->table.aggregate != nullptr) {
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
    ASSIGN_OR_RETURN(Pinned pinned, Current(*known, stop));
    if (request.timestamp_ms) {
      const auto as_of = delta::VersionAsOf(*pinned.store, *request.timestamp_ms);
      if (!as_of.ok()) return WithContext(as_of.status(), "timestamp");
      version = *as_of;
    }
    if (version && *version != pinned.snapshot->version) {
      auto loaded = request.cursor.empty() ? delta::LoadVersion(*pinned.store, *version)
                                           : LoadVersionOfCursor(*pinned.store, *version);
      if (!loaded.ok() && request.cursor.empty()) return WithContext(loaded.status(), "version");
      ASSIGN_OR_RETURN(pinned.snapshot, std::move(loaded));
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
  /// A table that statements can name. Never taken away.
  struct Known {
    explicit Known(SqlTable named) : table(std::move(named)) {}

    const SqlTable table;
    std::timed_mutex mutex;  // Held during requests to the store.
    std::shared_ptr<delta::Table> open;

    // What Tables() saw of it. Guarded by `columns_mutex`.
    std::mutex columns_mutex;
    std::shared_ptr<arrow::Schema> schema;  // nullptr: nothing yet.
    std::vector<sql::ResultColumn> columns;
    steady_clock::time_point seen;
  };

  /// A table at the version that is to be read.
  struct Pinned {
    const Known* known = nullptr;
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
    ASSIGN_OR_RETURN(const auto question, ReadQuestion(*session, request.sql, *functions, stop));
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
      RETURN_NOT_OK(RegisterAll(*session, sources, Reader::kOurs));
      const auto columns = session->Describe(question.select);
      if (!columns.ok() && request.parameters.empty()) return WithPlace(columns.status(), question.select);
      return Explained(sources, /*ran=*/false, std::move(output), begun);
    }
    RETURN_NOT_OK(AskAggregates(question, request, sources, stop));
    // Pages are cut out of rows in the order in which we read them.
    auto result = Run(*session, question, request, sources, pinned == nullptr ? Reader::kDuckDb : Reader::kOurs, stop);
    if (!result.ok()) return WithPlace(result.status(), question.select);
    for (const auto& source : sources) TakeCounts(*source);
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

  std::vector<std::string> Names() const {
    const std::scoped_lock lock(tables_mutex_);
    std::vector<std::string> names;
    for (const auto& known : tables_) names.push_back(known->table.name);
    return names;
  }

  /// nullptr: it is not known.
  Known* Find(std::string_view name) const {
    const std::scoped_lock lock(tables_mutex_);
    const auto found = std::find_if(tables_.begin(), tables_.end(), [&](const auto& known) {
      return EqualsIgnoringAsciiCase(known->table.name, name);
    });
    return found == tables_.end() ? nullptr : found->get();
  }

  std::vector<Known*> AllKnown() const {
    const std::scoped_lock lock(tables_mutex_);
    std::vector<Known*> all;
    for (const auto& known : tables_) all.push_back(known.get());
    return all;
  }

  bool IsOpen(const Known& known) const {
    const std::scoped_lock lock(tables_mutex_);
    return std::find(open_.begin(), open_.end(), &known) != open_.end();
  }

  Result<std::vector<sql::ResultColumn>> ColumnsOf(Known& known, const std::stop_token& stop) {
    if (auto* const aggregate = known.table.aggregate) return aggregate->Columns(stop);
    std::shared_ptr<arrow::Schema> schema;
    if (IsOpen(known)) {
      ASSIGN_OR_RETURN(const auto pinned, Current(known, stop));
      schema = pinned.snapshot->schema;
    } else {
      {
        const std::scoped_lock lock(known.columns_mutex);
        if (known.schema != nullptr && steady_clock::now() - known.seen < kColumnsAge) return known.columns;
      }
      // It is not kept open: those that statements ask for are.
      ASSIGN_OR_RETURN(const auto opened, known.table.open());
      schema = opened->snapshot()->schema;
    }
    const std::scoped_lock lock(known.columns_mutex);
    known.seen = steady_clock::now();
    if (known.schema != nullptr && known.schema->Equals(*schema)) return known.columns;
    ASSIGN_OR_RETURN(auto session, sessions_.Take(stop));
    constexpr const char* kTable = "a table";
    RETURN_NOT_OK(session->Register(kTable, Plain(*schema), {}));
    auto columns = session->Describe(fmt::format("SELECT * FROM {}", sql::QuoteIdentifier(kTable)));
    session->Forget(kTable);
    RETURN_NOT_OK(columns.status());
    known.schema = std::move(schema);
    known.columns = *columns;
    return columns;
  }

  /// Those of them that are not known. Whether there were any.
  bool Add(std::vector<SqlTable> tables) {
    const std::scoped_lock lock(tables_mutex_);
    std::set<std::string> names;
    for (const auto& known : tables_) names.insert(AsciiLower(known->table.name));
    const auto before = tables_.size();
    for (auto& table : tables) {
      if (names.insert(AsciiLower(table.name)).second) tables_.push_back(std::make_unique<Known>(std::move(table)));
    }
    return tables_.size() > before;
  }

  /// Whether there are tables that were not known.
  Result<bool> LookForMore(const std::stop_token& stop) {
    if (!options_.more_tables) return false;
    ASSIGN_OR_RETURN(auto tables, options_.more_tables(stop));
    return Add(std::move(tables));
  }

  Result<SqlQuestion> ReadQuestion(sql::SqlSession& session, const std::string& sql,
                                   const std::set<std::string>& functions, const std::stop_token& stop) {
    auto question = SqlQuestion::Read(session, sql, Names(), functions);
    if (question.ok() || KindOf(question.status()) != ErrorKind::kNotFound) return question;
    ASSIGN_OR_RETURN(const bool there_are_more, LookForMore(stop));
    return there_are_more ? SqlQuestion::Read(session, sql, Names(), functions) : question;
  }

  Result<std::shared_ptr<const std::set<std::string>>> Functions(sql::SqlSession& session) {
    const std::scoped_lock lock(functions_mutex_);
    if (functions_ == nullptr) {
      ASSIGN_OR_RETURN(auto functions, SqlQuestion::AllowedFunctions(session));
      functions_ = std::make_shared<const std::set<std::string>>(std::move(functions));
    }
    return functions_;
  }

  /// The table as it is now. Opens it, or follows its log.
  Result<Pinned> Current(Known& known, const std::stop_token& stop) {
    ASSIGN_OR_RETURN(const auto lock, LockUnlessStopped(known.mutex, stop));
    if (known.open == nullptr) {
      auto opened = known.table.open();
      if (!opened.ok()) return WithContext(opened.status(), "table {}", known.table.name);
      known.open = *std::move(opened);
      KeepOpen(known);
      return Pinned{&known, known.open->store(), known.open->snapshot()};
    }
    auto refreshed = known.open->Refresh();
    if (!refreshed.ok()) return WithContext(refreshed.status(), "table {}", known.table.name);
    KeepOpen(known);
    return Pinned{&known, known.open->store(), *std::move(refreshed)};
  }

  /// This one, whose mutex is held; and closes the one that nobody has asked for longest, if there are too many.
  void KeepOpen(Known& known) {
    const std::scoped_lock lock(tables_mutex_);
    open_.remove(&known);
    open_.push_front(&known);
    if (open_.size() <= kOpenTablesMax) return;
    const std::unique_lock other(open_.back()->mutex, std::try_to_lock);
    if (!other.owns_lock()) return;  // It is being asked for now.
    open_.back()->open = nullptr;
    open_.pop_back();
  }

  Result<std::shared_ptr<Source>> Resolve(sql::SqlSession& session, const std::string& name, const Pinned* pinned,
                                          const std::stop_token& stop) {
    Known& known = *Find(name);
    auto source = std::make_shared<Source>();
    source->table = &known.table;
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
    if (pinned != nullptr && pinned->known == &known) {
      read = *pinned;
    } else {
      ASSIGN_OR_RETURN(read, Current(known, stop));
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

  // Whoever may read them: `parquet` where a table's files allow it.
  enum class Reader { kDuckDb, kOurs };

  Status RegisterAll(sql::SqlSession& session, const std::vector<std::shared_ptr<Source>>& sources,
                     Reader reader) const {
    const auto num_scans = std::max<std::int64_t>(1, std::ssize(sources));
    for (const auto& source : sources) {
      if (source->table->aggregate == nullptr) {
        source->Forget();
        if (reader == Reader::kDuckDb) RETURN_NOT_OK(RegisterParquet(session, source));
        if (source->parquet != nullptr) continue;
        const std::int64_t buffer = statement_bytes_ / kInputShare / num_scans;
        RETURN_NOT_OK(session.RegisterStream(
            source->table->name, source->schema,
            [source, buffer](const std::vector<int>& columns) { return OpenSource(source, columns, buffer); },
            NumRows(*source->snapshot)));
        continue;
      }
      std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
      if (source->rows != nullptr) {
        arrow::TableBatchReader batch_reader(*source->rows);
        ASSIGN_OR_RETURN(batches, batch_reader.ToRecordBatches());
      }
      RETURN_NOT_OK(session.Register(source->table->name, source->schema, std::move(batches)));
    }
    return Status::OK();
  }

  // Leaves source->parquet null where it is not for DuckDB to read.
  static Status RegisterParquet(sql::SqlSession& session, const std::shared_ptr<Source>& source) {
    const auto& question = *source->question;
    const auto names = source->schema->field_names();
    const bool only_counts =
        std::none_of(names.begin(), names.end(), [&](const auto& name) { return question.MayUse(name); });
    if (only_counts && source->need.where.empty() && NumRows(*source->snapshot)) return Status::OK();  // The log knows.
    ASSIGN_OR_RETURN(auto files, ParquetFilesOf(source->store, *source->snapshot, source->schema, source->need.where,
                                                [&](const std::string& name) { return question.MayUse(name); }));
    if (!files) return Status::OK();
    source->parquet = std::make_shared<sql::ParquetCounts>();
    files->counts = source->parquet;
    files->num_rows = NumRows(*source->snapshot);
    return session.RegisterParquet(source->table->name, *std::move(files));
  }

  // DuckDB reads the files of tables itself, and where that fails we do: that takes longer and less memory, and says
  // which file is not what it must be.
  Result<sql::StatementResult> Run(sql::SqlSession& session, const SqlQuestion& question, const SqlRequest& request,
                                   const std::vector<std::shared_ptr<Source>>& sources, Reader reader,
                                   const std::stop_token& stop) const {
    const sql::ResultLimits limits{.rows_max = request.rows_max, .bytes_max = statement_bytes_ / kOutputShare};
    RETURN_NOT_OK(RegisterAll(session, sources, reader));
    auto result = session.Run(question.select, request.parameters, limits, stop);
    const bool read_by_duckdb =
        std::any_of(sources.begin(), sources.end(), [](const auto& source) { return source->parquet != nullptr; });
    if (result.ok() || !read_by_duckdb || !session.ReadingFailed() || stop.stop_requested()) return result;
    RETURN_NOT_OK(RegisterAll(session, sources, Reader::kOurs));
    return session.Run(question.select, request.parameters, limits, stop);
  }

  // What DuckDB has counted, where we count.
  static void TakeCounts(Source& source) {
    if (source.parquet == nullptr) return;
    const std::scoped_lock lock(source.mutex, source.parquet->mutex);
    for (const int column : source.parquet->columns) source.columns.insert(source.schema->field(column)->name());
    source.counts.files_read += source.parquet->files;
    source.counts.row_groups += source.parquet->row_groups;
    source.counts.row_groups_read += source.parquet->row_groups_read;
    source.rows_read += source.parquet->rows;
    source.bytes_read += source.parquet->bytes;
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
  mutable std::mutex tables_mutex_;
  std::vector<std::unique_ptr<Known>> tables_;  // The pointers are guarded by tables_mutex_.
  std::list<Known*> open_;                      // The last use first. Likewise.
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

Result<std::vector<SqlTableShape>> SqlEngine::Tables(const std::stop_token& stop) { return impl_->Tables(stop); }

Result<Answer> SqlEngine::Rows(const RowsRequest& request, const std::stop_token& stop) {
  return impl_->Rows(request, stop);
}

}  // namespace millrace::query
