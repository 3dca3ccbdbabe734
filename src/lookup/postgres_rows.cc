#include "lookup/postgres_rows.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/util/decimal.h>
#include <arrow/util/value_parsing.h>
#include <libpq-fe.h>

#include <atomic>
#include <charconv>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "objectstore/s3/sigv4.h"

namespace millrace::lookup {
namespace {

// pg_type.dat: the numbers of built-in types never change.
enum TypeId : Oid {
  kBool = 16,
  kBytea = 17,
  kName = 19,
  kInt8 = 20,
  kInt2 = 21,
  kInt4 = 23,
  kText = 25,
  kJson = 114,
  kFloat4 = 700,
  kFloat8 = 701,
  kBpchar = 1042,
  kVarchar = 1043,
  kDate = 1082,
  kTimestamp = 1114,
  kTimestamptz = 1184,
  kNumeric = 1700,
  kUuid = 2950,
  kJsonb = 3802,
};

// Hashed at a time: the digest of all is that of the one before and of these.
constexpr std::size_t kHashedAtOnce = 1 << 20;

struct CloseConnection {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
struct ClearResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
struct FreeCancel {
  void operator()(PGcancel* cancel) const { PQfreeCancel(cancel); }
};
using Connection = std::unique_ptr<PGconn, CloseConnection>;
using PgResult = std::unique_ptr<PGresult, ClearResult>;

std::string OneLine(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (char& c : text) {
    if (c == '\n' || c == '\t') c = ' ';
  }
  return text;
}

// Nullptr: a type that no column has.
std::shared_ptr<arrow::DataType> TypeOf(Oid type, int modifier) {
  switch (type) {
    case kBool:
      return arrow::boolean();
    case kInt2:
      return arrow::int16();
    case kInt4:
      return arrow::int32();
    case kInt8:
      return arrow::int64();
    case kFloat4:
      return arrow::float32();
    case kFloat8:
      return arrow::float64();
    case kDate:
      return arrow::date32();
    case kTimestamp:
      return arrow::timestamp(arrow::TimeUnit::MICRO);
    case kTimestamptz:
      return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
    case kBytea:
      return arrow::binary();
    case kName:
    case kText:
    case kJson:
    case kBpchar:
    case kVarchar:
    case kUuid:
    case kJsonb:
      return arrow::utf8();
    case kNumeric: {
      // numeric.c: ((precision << 16) | scale) + 4; the scale has 11 bits and a sign.
      if (modifier < 4) return nullptr;
      const int precision = ((modifier - 4) >> 16) & 0xffff;
      const int scale = (((modifier - 4) & 0x7ff) ^ 1024) - 1024;
      if (precision > 38 || scale < 0 || scale > precision) return nullptr;
      return arrow::decimal128(precision, scale);
    }
    default:
      return nullptr;
  }
}

template <typename Builder>
bool AppendParsed(arrow::ArrayBuilder& builder, std::string_view text) {
  typename Builder::TypeClass::c_type value{};
  auto& typed = static_cast<Builder&>(builder);
  const bool parsed = arrow::internal::ParseValue<typename Builder::TypeClass>(
      static_cast<const typename Builder::TypeClass&>(*builder.type()), text.data(), text.size(), &value);
  return parsed && typed.Append(value).ok();
}

bool AppendDecimal(arrow::ArrayBuilder& builder, std::string_view text) {
  arrow::Decimal128 value;
  std::int32_t precision = 0;
  std::int32_t scale = 0;
  if (!arrow::Decimal128::FromString(text, &value, &precision, &scale).ok()) return false;
  const auto& type = static_cast<const arrow::Decimal128Type&>(*builder.type());
  const auto scaled = value.Rescale(scale, type.scale());
  return scaled.ok() && static_cast<arrow::Decimal128Builder&>(builder).Append(*scaled).ok();
}

// "\x00ff"
bool AppendBytea(arrow::ArrayBuilder& builder, std::string_view text) {
  if (!text.starts_with("\\x") || text.size() % 2 != 0) return false;
  std::string bytes;
  for (std::size_t i = 2; i < text.size(); i += 2) {
    unsigned char byte = 0;
    const auto [end, error] = std::from_chars(text.data() + i, text.data() + i + 2, byte, 16);
    if (error != std::errc() || end != text.data() + i + 2) return false;
    bytes.push_back(static_cast<char>(byte));
  }
  return static_cast<arrow::BinaryBuilder&>(builder).Append(bytes).ok();
}

// As PostgreSQL prints it; false: no column can hold it.
bool AppendText(arrow::ArrayBuilder& builder, std::string_view text) {
  switch (builder.type()->id()) {
    case arrow::Type::BOOL:
      return static_cast<arrow::BooleanBuilder&>(builder).Append(text == "t").ok();
    case arrow::Type::INT16:
      return AppendParsed<arrow::Int16Builder>(builder, text);
    case arrow::Type::INT32:
      return AppendParsed<arrow::Int32Builder>(builder, text);
    case arrow::Type::INT64:
      return AppendParsed<arrow::Int64Builder>(builder, text);
    case arrow::Type::FLOAT:
      return AppendParsed<arrow::FloatBuilder>(builder, text);
    case arrow::Type::DOUBLE:
      return AppendParsed<arrow::DoubleBuilder>(builder, text);
    case arrow::Type::DATE32:
      return AppendParsed<arrow::Date32Builder>(builder, text);
    case arrow::Type::TIMESTAMP: {
      std::int64_t time = 0;
      bool has_zone = false;
      const auto& type = static_cast<const arrow::TimestampType&>(*builder.type());
      return arrow::internal::ParseTimestampISO8601(text.data(), text.size(), arrow::TimeUnit::MICRO, &time,
                                                    &has_zone) &&
             has_zone == !type.timezone().empty() && static_cast<arrow::TimestampBuilder&>(builder).Append(time).ok();
    }
    case arrow::Type::DECIMAL128:
      return AppendDecimal(builder, text);
    case arrow::Type::BINARY:
      return AppendBytea(builder, text);
    default:
      return static_cast<arrow::StringBuilder&>(builder).Append(text).ok();
  }
}

class PostgresRows : public RowReader {
 public:
  PostgresRows(std::string connection, std::string query)
      : connection_(std::move(connection)), query_(std::move(query)) {}

  Result<std::shared_ptr<arrow::Schema>> Columns() override {
    ASSIGN_OR_RETURN(const auto connection, Connect());
    return Prepare(connection.get());
  }

  Result<std::optional<ReadRows>> Read(const arrow::FieldVector& columns, const std::string& known_version,
                                       std::int64_t bytes_max) override {
    ASSIGN_OR_RETURN(const auto connection, Connect());
    const CancelScope cancellable(*this, connection.get());
    ASSIGN_OR_RETURN(const auto schema, Prepare(connection.get()));
    RETURN_NOT_OK(CheckColumns(*schema, columns));
    if (PQsendQueryPrepared(connection.get(), "", 0, nullptr, nullptr, nullptr, 0) != 1 ||
        PQsetSingleRowMode(connection.get()) != 1) {
      return Failed(connection.get(), nullptr);
    }
    std::vector<std::unique_ptr<arrow::ArrayBuilder>> builders;
    for (const auto& field : schema->fields()) {
      ASSIGN_OR_RETURN(builders.emplace_back(), arrow::MakeBuilder(field->type()));
    }
    std::int64_t num_rows = 0;
    std::int64_t bytes = 0;
    std::string digest;
    std::string hashed;  // Since the digest was made.
    while (const PgResult row{PQgetResult(connection.get())}) {
      const auto status = PQresultStatus(row.get());
      if (status == PGRES_TUPLES_OK) continue;
      if (status != PGRES_SINGLE_TUPLE) return Failed(connection.get(), row.get());
      for (int i = 0; i < schema->num_fields(); ++i) {
        if (PQgetisnull(row.get(), 0, i) != 0) {
          RETURN_NOT_OK(builders[i]->AppendNull());
          hashed += '\0';
          continue;
        }
        const std::string_view text(PQgetvalue(row.get(), 0, i),
                                    static_cast<std::size_t>(PQgetlength(row.get(), 0, i)));
        if (!AppendText(*builders[i], text)) {
          return InvalidInput("column {} has the value {}, which no {} can be; mend it in the query",
                              schema->field(i)->name(), text, schema->field(i)->type()->ToString());
        }
        bytes += static_cast<std::int64_t>(text.size());
        hashed += fmt::format("{}:", text.size());
        hashed += text;
      }
      if (bytes > bytes_max) return TooLarge("its rows have more than {} bytes", bytes_max);
      ++num_rows;
      if (hashed.size() > kHashedAtOnce) {
        digest = objectstore::s3::Sha256Hex(digest + hashed);
        hashed.clear();
      }
    }
    std::string version = "sha256 " + objectstore::s3::Sha256Hex(digest + hashed).substr(0, 16);
    if (version == known_version) return std::nullopt;
    std::vector<std::shared_ptr<arrow::Array>> arrays;
    for (const auto& builder : builders) {
      ASSIGN_OR_RETURN(arrays.emplace_back(), builder->Finish());
    }
    return ReadRows{arrow::RecordBatch::Make(schema, num_rows, std::move(arrays)), std::move(version)};
  }

  void Interrupt() override {
    const std::scoped_lock lock(mutex_);
    interrupted_ = true;
    char ignored[256];
    if (cancel_ != nullptr) PQcancel(cancel_.get(), ignored, sizeof(ignored));
  }

 private:
  /// While it lives, Interrupt() reaches the connection.
  class CancelScope {
   public:
    CancelScope(PostgresRows& rows, PGconn* connection) : rows_(rows) {
      const std::scoped_lock lock(rows_.mutex_);
      rows_.cancel_.reset(PQgetCancel(connection));
    }
    ~CancelScope() {
      const std::scoped_lock lock(rows_.mutex_);
      rows_.cancel_.reset();
    }

   private:
    PostgresRows& rows_;
  };

  Result<Connection> Connect() const {
    if (interrupted_) return Cancelled("interrupted");
    // What comes before `dbname`, which holds the user's connection string, is replaced by it.
    const char* const keywords[] = {"connect_timeout", "tcp_user_timeout", "dbname", "client_encoding", nullptr};
    const char* const values[] = {"10", "60000", connection_.c_str(), "UTF8", nullptr};
    Connection connection(PQconnectdbParams(keywords, values, 1));
    if (PQstatus(connection.get()) != CONNECTION_OK) return Failed(connection.get(), nullptr);
    const PgResult begun(PQexec(connection.get(),
                                "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET bytea_output = 'hex'; SET "
                                "extra_float_digits = 1; BEGIN READ ONLY"));
    if (PQresultStatus(begun.get()) != PGRES_COMMAND_OK) return Failed(connection.get(), begun.get());
    return connection;
  }

  Result<std::shared_ptr<arrow::Schema>> Prepare(PGconn* connection) const {
    const PgResult prepared(PQprepare(connection, "", query_.c_str(), 0, nullptr));
    if (PQresultStatus(prepared.get()) != PGRES_COMMAND_OK) return Failed(connection, prepared.get());
    const PgResult described(PQdescribePrepared(connection, ""));
    if (PQresultStatus(described.get()) != PGRES_COMMAND_OK) return Failed(connection, described.get());
    arrow::FieldVector fields;
    for (int i = 0; i < PQnfields(described.get()); ++i) {
      const std::string name = PQfname(described.get(), i);
      const auto type = TypeOf(PQftype(described.get(), i), PQfmod(described.get(), i));
      if (type == nullptr) {
        return InvalidInput(
            "column {} has a type that a lookup cannot have; cast it in the query, as {}::text or "
            "{}::numeric(12,2)",
            name, name, name);
      }
      fields.push_back(arrow::field(name, type));
    }
    if (fields.empty()) return InvalidInput("the query gives no columns; it must be a SELECT");
    return arrow::schema(std::move(fields));
  }

  static Status CheckColumns(const arrow::Schema& schema, const arrow::FieldVector& wanted) {
    for (const auto& field : wanted) {
      if (schema.GetFieldByName(field->name()) == nullptr) {
        return InvalidInput("there is no column {} any more", field->name());
      }
    }
    return Status::OK();
  }

  Status Failed(PGconn* connection, const PGresult* result) const {
    if (interrupted_) return Cancelled("interrupted");
    const char* const state = result == nullptr ? nullptr : PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const std::string message = OneLine(PQerrorMessage(connection));
    // Without a state the connection is at fault; 08: likewise, 53 and 57: the server has no room, or shuts down.
    const std::string_view kind(state == nullptr ? "08" : state, 2);
    if (kind == "08" || kind == "53" || kind == "57") return Transient("{}", message);
    return InvalidInput("{}", message);
  }

  const std::string connection_;
  const std::string query_;
  std::atomic<bool> interrupted_{false};
  std::mutex mutex_;  // Guards cancel_.
  std::unique_ptr<PGcancel, FreeCancel> cancel_;
};

}  // namespace

std::unique_ptr<RowReader> MakePostgresRows(std::string connection, std::string query) {
  return std::make_unique<PostgresRows>(std::move(connection), std::move(query));
}

}  // namespace millrace::lookup
