#include <charconv>
#include <duckdb/catalog/catalog_entry/table_function_catalog_entry.hpp>
#include <duckdb/common/exception.hpp>
#include <duckdb/common/file_system.hpp>
#include <duckdb/common/multi_file/multi_file_list.hpp>
#include <duckdb/common/multi_file/multi_file_reader.hpp>
#include <duckdb/common/multi_file/multi_file_states.hpp>
#include <duckdb/function/table_function.hpp>
#include <duckdb/main/client_context.hpp>
#include <duckdb/main/config.hpp>
#include <duckdb/main/connection.hpp>
#include <duckdb/main/database.hpp>
#include <duckdb/main/extension/extension_loader.hpp>
#include <duckdb/storage/external_file_cache.hpp>
#include <duckdb/storage/statistics/node_statistics.hpp>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "base/ascii_case.h"
#include "sql/parquet_scans_internal.h"

#ifdef DEBUG
#error "DuckDB's headers lay out their classes otherwise where DEBUG is defined, and the library is built without it"
#endif

namespace millrace::sql {
namespace {

// What DuckDB calls its reader of Parquet.
constexpr const char* kParquetScan = "parquet_scan";
constexpr std::string_view kScheme = "millrace://";

// One relation. Everything but what the mutex guards stays as it was set.
struct ParquetRelation {
  struct Column {
    std::string name;
    duckdb::LogicalType type;
  };

  ParquetFiles files;
  std::vector<Column> columns;
  std::vector<duckdb::Value> constants;  // As files.constants.
  std::uint64_t number = 0;              // In addresses.

  std::mutex mutex;
  std::map<std::size_t, std::weak_ptr<arrow::io::RandomAccessFile>> opened;  // Each thread opens each file.
  std::set<std::size_t> counted;                                             // Files that the counts have.
};
using ParquetRelationPtr = std::shared_ptr<ParquetRelation>;

}  // namespace

struct ParquetScanState {
  ParquetRelationPtr Find(const std::string& name) {
    const std::scoped_lock lock(mutex);
    const auto found = by_folded_name.find(AsciiLower(name));
    return found == by_folded_name.end() ? nullptr : found->second;
  }

  // The file that an address means. nullptr: none.
  std::pair<ParquetRelationPtr, std::size_t> FileAt(std::string_view address) {
    std::uint64_t number = 0;
    std::size_t file = 0;
    address.remove_prefix(kScheme.size());
    const char* const end = address.data() + address.size();
    const auto [slash, first] = std::from_chars(address.data(), end, number);
    if (first != std::errc() || slash == end || *slash != '/') return {};
    const auto [last, second] = std::from_chars(slash + 1, end, file);
    if (second != std::errc() || last != end) return {};
    const std::scoped_lock lock(mutex);
    for (const auto& [name, relation] : by_folded_name) {
      if (relation->number == number && file < relation->files.files.size()) return {relation, file};
    }
    return {};
  }

  std::atomic<bool> failed = false;
  std::mutex mutex;
  std::map<std::string, ParquetRelationPtr> by_folded_name;
  std::uint64_t num_relations = 0;  // Ever.
  // DuckDB's own, which ours call.
  duckdb::table_function_init_global_t init_global = nullptr;
  duckdb::table_function_init_local_t init_local = nullptr;
  duckdb::table_function_t read = nullptr;
  duckdb::table_function_get_partition_data_t partition = nullptr;
  duckdb::table_function_get_virtual_columns_t virtual_columns = nullptr;
  duckdb::table_function_get_metrics_t metrics = nullptr;
};

namespace {

using StatePtr = std::shared_ptr<ParquetScanState>;

struct OpenParquet final : duckdb::FileHandle {
  OpenParquet(duckdb::FileSystem& files, const std::string& address, duckdb::FileOpenFlags how, bool far_away,
              std::shared_ptr<arrow::io::RandomAccessFile> file)
      : FileHandle(files, address, how), is_far(far_away), bytes(std::move(file)) {}
  void Close() override {}

  const bool is_far;
  const std::shared_ptr<arrow::io::RandomAccessFile> bytes;
};

// The files of the session's relations, to read, at any place.
class RelationFiles final : public duckdb::FileSystem {
 public:
  explicit RelationFiles(StatePtr state) : state_(std::move(state)) {}

  std::string GetName() const override { return "millrace"; }
  bool CanHandleFile(const std::string& address) override { return address.starts_with(kScheme); }
  std::string CanonicalizePath(const std::string& address, duckdb::optional_ptr<duckdb::FileOpener>) override {
    return address;
  }

  duckdb::unique_ptr<duckdb::FileHandle> OpenFile(const std::string& address, duckdb::FileOpenFlags flags,
                                                  duckdb::optional_ptr<duckdb::FileOpener>) override {
    const auto& [relation, file] = state_->FileAt(address);
    if (relation == nullptr || flags.OpenForWriting()) throw duckdb::IOException("there is no file " + address);
    auto bytes = Bytes(*relation, file);
    if (!bytes.ok()) throw duckdb::IOException(bytes.status().message());
    return duckdb::make_uniq<OpenParquet>(*this, address, flags, relation->files.is_far, *std::move(bytes));
  }

  void Read(duckdb::FileHandle& handle, void* buffer, std::int64_t num_bytes, duckdb::idx_t at) override {
    const auto read = BytesOf(handle).ReadAt(static_cast<std::int64_t>(at), num_bytes, buffer);
    if (!read.ok()) throw duckdb::IOException(read.status().message());
    if (*read != num_bytes) throw duckdb::IOException(handle.path + " ends early");
  }
  std::int64_t GetFileSize(duckdb::FileHandle& handle) override {
    const auto size = BytesOf(handle).GetSize();
    if (!size.ok()) throw duckdb::IOException(size.status().message());
    return *size;
  }
  duckdb::FileType GetFileType(duckdb::FileHandle&) override { return duckdb::FileType::FILE_TYPE_REGULAR; }
  // Files of a table never change.
  duckdb::timestamp_t GetLastModifiedTime(duckdb::FileHandle&) override { return duckdb::timestamp_t(0); }
  std::string GetVersionTag(duckdb::FileHandle&) override { return ""; }
  bool CanSeek() override { return true; }
  // Of those that are far it reads what it will need of a row group at once.
  bool OnDiskFile(duckdb::FileHandle& handle) override { return !handle.Cast<OpenParquet>().is_far; }

 private:
  static arrow::io::RandomAccessFile& BytesOf(duckdb::FileHandle& handle) { return *handle.Cast<OpenParquet>().bytes; }

  static Result<std::shared_ptr<arrow::io::RandomAccessFile>> Bytes(ParquetRelation& relation, std::size_t file) {
    {
      const std::scoped_lock lock(relation.mutex);
      if (auto open = relation.opened[file].lock()) return open;
    }
    // Without the lock: it may be a request, and threads open files of their own meanwhile.
    ASSIGN_OR_RETURN(auto open, relation.files.open(file));
    const std::scoped_lock lock(relation.mutex);
    relation.opened[file] = open;
    return open;
  }

  const StatePtr state_;
};

class RelationFileList final : public duckdb::SimpleMultiFileList {
 public:
  explicit RelationFileList(ParquetRelationPtr relation)
      : SimpleMultiFileList(Addresses(*relation)), relation_(std::move(relation)) {}

  // One file is read by several threads too.
  duckdb::FileExpandResult GetExpandResult() const override {
    return paths.empty() ? duckdb::FileExpandResult::NO_FILES : duckdb::FileExpandResult::MULTIPLE_FILES;
  }
  duckdb::unique_ptr<duckdb::NodeStatistics> GetCardinality(duckdb::ClientContext&) const override {
    if (!relation_->files.num_rows) return nullptr;
    return duckdb::make_uniq<duckdb::NodeStatistics>(static_cast<duckdb::idx_t>(*relation_->files.num_rows));
  }

 private:
  static duckdb::vector<duckdb::OpenFileInfo> Addresses(const ParquetRelation& relation) {
    duckdb::vector<duckdb::OpenFileInfo> addresses;
    for (std::size_t i = 0; i < relation.files.files.size(); ++i) {
      addresses.emplace_back(fmt::format("{}{}/{}", kScheme, relation.number, i));
    }
    return addresses;
  }

  const ParquetRelationPtr relation_;
};

// Whether a column that a file has as `stored` is read as ours would read it (delta/data/physical_column.h), and so are
// conditions on it: DuckDB casts their constants to the file's type, which must be exact or fail, as between integers,
// or it must read through its cast, as it does between times. (Between floats, say, it would round the constants.)
bool IsReadable(const duckdb::LogicalType& stored, const duckdb::LogicalType& wanted) {
  using Id = duckdb::LogicalTypeId;
  if (stored == wanted) return true;
  switch (wanted.id()) {
    case Id::TINYINT:
    case Id::SMALLINT:
    case Id::INTEGER:
    case Id::BIGINT:
      return stored.IsIntegral();
    case Id::DECIMAL:
      return stored.id() == Id::DECIMAL &&
             duckdb::DecimalType::GetScale(stored) == duckdb::DecimalType::GetScale(wanted);
    case Id::TIMESTAMP:
      return stored.id() == Id::TIMESTAMP_TZ;
    case Id::TIMESTAMP_TZ:
      return stored.id() == Id::TIMESTAMP;
    default:
      return false;
  }
}

class RelationReader final : public duckdb::MultiFileReader {
 public:
  explicit RelationReader(StatePtr state) : state_(std::move(state)) {}

  const StatePtr& state() const { return state_; }
  const ParquetRelationPtr& relation() const { return relation_; }

  duckdb::shared_ptr<duckdb::MultiFileList> CreateFileList(duckdb::ClientContext&,
                                                           const duckdb::vector<std::string>& paths,
                                                           const duckdb::FileGlobInput&) override {
    relation_ = paths.size() == 1 ? state_->Find(paths[0]) : nullptr;
    if (relation_ == nullptr) throw duckdb::BinderException("no such relation");
    return duckdb::make_shared_ptr<RelationFileList>(relation_);
  }

  // No file is opened for it.
  bool Bind(duckdb::MultiFileOptions&, duckdb::MultiFileList&, duckdb::vector<duckdb::LogicalType>& types,
            duckdb::vector<std::string>& names, duckdb::MultiFileReaderBindData& bound) override {
    for (std::size_t i = 0; i < relation_->columns.size(); ++i) {
      const auto& [name, type] = relation_->columns[i];
      names.push_back(name);
      types.push_back(type);
      bound.schema.push_back(duckdb::MultiFileColumnDefinition::CreateFromNameAndType(name, type));
      bound.schema.back().identifier = duckdb::Value(relation_->files.stored_names[i]);
    }
    bound.mapping = duckdb::MultiFileColumnMappingMode::BY_NAME;
    return true;
  }
  void BindOptions(duckdb::MultiFileOptions&, duckdb::MultiFileList&, duckdb::vector<duckdb::LogicalType>&,
                   duckdb::vector<std::string>&, duckdb::MultiFileReaderBindData&) override {}

  // A file is open: what its rows have that it does not hold itself.
  void FinalizeBind(duckdb::MultiFileReaderData& data, const duckdb::MultiFileOptions& options,
                    const duckdb::MultiFileReaderBindData& bound,
                    const duckdb::vector<duckdb::MultiFileColumnDefinition>& columns,
                    const duckdb::vector<duckdb::ColumnIndex>& wanted, duckdb::ClientContext& context,
                    duckdb::optional_ptr<duckdb::MultiFileReaderGlobalState> global) override {
    MultiFileReader::FinalizeBind(data, options, bound, columns, wanted, context, global);
    const std::size_t file = data.reader->file_list_idx.GetIndex();
    std::map<std::size_t, std::size_t> constants;  // By column.
    for (const std::size_t constant : relation_->files.files[file].constants) {
      constants[static_cast<std::size_t>(relation_->files.constants[constant].column)] = constant;
    }
    for (duckdb::idx_t i = 0; i < wanted.size(); ++i) {
      if (wanted[i].IsVirtualColumn()) continue;
      const std::size_t column = wanted[i].GetPrimaryIndex();
      const auto constant = constants.find(column);
      if (constant != constants.end()) {
        data.constant_map.Add(duckdb::MultiFileGlobalIndex(i), relation_->constants[constant->second]);
      } else if (const auto* stored = Stored(*data.reader, relation_->files.stored_names[column]); stored == nullptr) {
        data.constant_map.Add(duckdb::MultiFileGlobalIndex(i), duckdb::Value(relation_->columns[column].type));
      } else if (!IsReadable(stored->type, relation_->columns[column].type)) {
        throw duckdb::NotImplementedException("column " + stored->name + " is not read as it is stored");
      }
    }
    auto* const counts = relation_->files.counts.get();
    if (counts == nullptr) return;
    const std::scoped_lock lock(counts->mutex, relation_->mutex);
    if (!relation_->counted.insert(file).second) return;
    counts->files += 1;
    counts->bytes += relation_->files.files[file].size;
  }

  duckdb::unique_ptr<duckdb::MultiFileReader> Copy() const override { return duckdb::make_uniq<RelationReader>(*this); }

 private:
  // Names have no case. Two columns of one name: the caller's own reader says what is wrong with that.
  static const duckdb::MultiFileColumnDefinition* Stored(const duckdb::BaseFileReader& file, const std::string& name) {
    const duckdb::MultiFileColumnDefinition* found = nullptr;
    for (const auto& column : file.GetColumns()) {
      if (!EqualsIgnoringAsciiCase(column.name, name)) continue;
      if (found != nullptr) throw duckdb::InvalidInputException("two columns are " + name);
      found = &column;
    }
    return found;
  }

  StatePtr state_;
  ParquetRelationPtr relation_;
};

// How the function's registration reaches the objects that are made for a statement.
struct FunctionInfo final : duckdb::TableFunctionInfo {
  explicit FunctionInfo(StatePtr shared) : state(std::move(shared)) {}
  const StatePtr state;
};

duckdb::unique_ptr<duckdb::MultiFileReader> MakeReader(const duckdb::TableFunction& function) {
  return duckdb::make_uniq<RelationReader>(function.function_info->Cast<FunctionInfo>().state);
}

RelationReader& ReaderOf(const duckdb::FunctionData& bound) {
  return static_cast<RelationReader&>(*bound.Cast<duckdb::MultiFileBindData>().multi_file_reader);
}

// Notes that it was reading that failed.
template <typename Call>
auto Noting(ParquetScanState& state, const Call& call) {
  try {
    return call();
  } catch (const duckdb::InterruptException&) {
    throw;
  } catch (...) {
    state.failed = true;
    throw;
  }
}

duckdb::unique_ptr<duckdb::GlobalTableFunctionState> InitGlobal(duckdb::ClientContext& context,
                                                                duckdb::TableFunctionInitInput& input) {
  auto& reader = ReaderOf(*input.bind_data);
  if (auto* const counts = reader.relation()->files.counts.get(); counts != nullptr) {
    const std::scoped_lock lock(counts->mutex);
    for (const auto& column : input.column_indexes) {
      if (!column.IsVirtualColumn()) counts->columns.insert(static_cast<int>(column.GetPrimaryIndex()));
    }
  }
  auto& state = *reader.state();
  return Noting(state, [&] { return state.init_global(context, input); });
}

// Where one thread of a scan is, which is DuckDB's, and what it has read.
struct ThreadOfScan final : duckdb::LocalTableFunctionState {
  ThreadOfScan(ParquetRelationPtr of, duckdb::unique_ptr<duckdb::LocalTableFunctionState> at)
      : relation(std::move(of)), place(std::move(at)) {}
  ~ThreadOfScan() override {
    auto* const counts = relation->files.counts.get();
    if (counts == nullptr) return;
    const std::scoped_lock lock(counts->mutex);
    counts->rows += rows;
    counts->row_groups += row_groups;
    counts->row_groups_read += row_groups_read;
  }

  const ParquetRelationPtr relation;
  const duckdb::unique_ptr<duckdb::LocalTableFunctionState> place;
  std::optional<duckdb::idx_t> batch;  // The last one: a row group.
  std::int64_t rows = 0;
  std::int64_t row_groups = 0;
  std::int64_t row_groups_read = 0;
};

duckdb::unique_ptr<duckdb::LocalTableFunctionState> InitLocal(duckdb::ExecutionContext& context,
                                                              duckdb::TableFunctionInitInput& input,
                                                              duckdb::GlobalTableFunctionState* global) {
  const auto& reader = ReaderOf(*input.bind_data);
  auto& state = *reader.state();
  auto place = Noting(state, [&] { return state.init_local(context, input, global); });
  if (place == nullptr) return nullptr;  // There is nothing to read.
  return duckdb::make_uniq<ThreadOfScan>(reader.relation(), std::move(place));
}

// Row groups of which this thread has read anything.
std::int64_t RowGroupsRead(const ParquetScanState& state, duckdb::ClientContext& context,
                           duckdb::TableFunctionInput& input) {
  static const duckdb::profiler_settings_t kWanted = {duckdb::MetricType::OPERATOR_ROW_GROUPS_SCANNED};
  duckdb::profiler_metrics_t metrics;
  state.metrics(context, input.bind_data.get(), *input.global_state, *input.local_state, kWanted, metrics);
  return static_cast<std::int64_t>(
      metrics.at(duckdb::MetricType::OPERATOR_ROW_GROUPS_SCANNED).GetValue<std::uint64_t>());
}

void ReadRows(duckdb::ClientContext& context, duckdb::TableFunctionInput& input, duckdb::DataChunk& output) {
  auto& state = *ReaderOf(*input.bind_data).state();
  if (!input.local_state) {
    state.read(context, input, output);
    return;
  }
  auto& thread = input.local_state->Cast<ThreadOfScan>();
  input.local_state = thread.place.get();
  const auto batch = thread.place->Cast<duckdb::MultiFileLocalState>().batch_index;
  Noting(state, [&] { state.read(context, input, output); });
  thread.rows += static_cast<std::int64_t>(output.size());
  if (thread.batch == batch) return;
  // With the first call it decides whether to read the row group.
  thread.batch = batch;
  thread.row_groups += 1;
  thread.row_groups_read = RowGroupsRead(state, context, input);
}

duckdb::OperatorPartitionData PartitionOf(duckdb::ClientContext& context,
                                          duckdb::TableFunctionGetPartitionInput& input) {
  input.local_state = input.local_state->Cast<ThreadOfScan>().place.get();
  return ReaderOf(*input.bind_data).state()->partition(context, input);
}

// DuckDB's own columns (a file's name, a row's number) stay, because it finds the best rows by them; without names they
// are no columns of the relation.
duckdb::virtual_column_map_t NamelessColumns(duckdb::ClientContext& context,
                                             duckdb::optional_ptr<duckdb::FunctionData> bound) {
  auto columns = ReaderOf(*bound).state()->virtual_columns(context, bound);
  for (auto& [id, column] : columns) column.name.clear();
  return columns;
}

duckdb::DatabaseInstance& DatabaseOf(duckdb_connection connection) {
  return *reinterpret_cast<duckdb::Connection*>(connection)->context->db;
}

}  // namespace

ParquetScans::ParquetScans() : state_(std::make_shared<ParquetScanState>()) {}
ParquetScans::~ParquetScans() = default;

Status ParquetScans::Install(duckdb_connection connection) {
  if (std::string_view(duckdb_library_version()) != MILLRACE_DUCKDB_VERSION) {
    return Internal("DuckDB: the library is {}, its headers were of {}", duckdb_library_version(),
                    MILLRACE_DUCKDB_VERSION);
  }
  connection_ = connection;
  try {
    auto& database = DatabaseOf(connection);
    database.GetFileSystem().RegisterSubSystem(duckdb::make_uniq<RelationFiles>(state_));
    duckdb::DBConfig::GetConfig(database).AddAllowedDirectory(std::string(kScheme));
    // It would keep bytes that the store has, and an entry for each file for ever.
    duckdb::ExternalFileCache::Get(database).SetEnabled(false);
    duckdb::ExtensionLoader loader(database, "millrace");
    auto function = loader.GetTableFunction(kParquetScan)
                        .functions.GetFunctionByArguments(*reinterpret_cast<duckdb::Connection*>(connection)->context,
                                                          {duckdb::LogicalType::VARCHAR});
    function.name = kParquetFunction;
    function.get_multi_file_reader = MakeReader;
    function.function_info = duckdb::make_shared_ptr<FunctionInfo>(state_);
    state_->init_global = std::exchange(function.init_global, InitGlobal);
    state_->init_local = std::exchange(function.init_local, InitLocal);
    state_->read = std::exchange(function.function, ReadRows);
    state_->partition = std::exchange(function.get_partition_data, PartitionOf);
    state_->virtual_columns = std::exchange(function.get_virtual_columns, NamelessColumns);
    state_->metrics = std::exchange(function.get_metrics, nullptr);
    function.get_partition_stats = nullptr;  // They are by place in the file.
    loader.RegisterFunction(std::move(function));
  } catch (const std::exception& error) {
    return Internal("DuckDB: {}", error.what());
  }
  return Status::OK();
}

void ParquetScans::Set(const std::string& name, ParquetFiles files, const std::vector<duckdb_logical_type>& types,
                       const std::vector<duckdb_vector>& constants) {
  auto relation = std::make_shared<ParquetRelation>();
  for (std::size_t i = 0; i < types.size(); ++i) {
    relation->columns.push_back(
        {files.schema->field(static_cast<int>(i))->name(), *reinterpret_cast<const duckdb::LogicalType*>(types[i])});
  }
  for (const auto& constant : constants) {
    relation->constants.push_back(reinterpret_cast<const duckdb::Vector*>(constant)->GetValue(0));
  }
  relation->files = std::move(files);
  const std::scoped_lock lock(state_->mutex);
  relation->number = state_->num_relations++;
  state_->by_folded_name[AsciiLower(name)] = std::move(relation);
}

void ParquetScans::Erase(const std::string& name) {
  {
    const std::scoped_lock lock(state_->mutex);
    if (state_->by_folded_name.erase(AsciiLower(name)) == 0) return;
  }
  // DuckDB remembers the name of each file that was ever opened; this makes it forget them.
  auto& cache = duckdb::ExternalFileCache::Get(DatabaseOf(connection_));
  cache.SetEnabled(true);
  cache.SetEnabled(false);
}

std::atomic<bool>& ParquetScans::failed() { return state_->failed; }

}  // namespace millrace::sql
