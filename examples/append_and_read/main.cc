// Makes a Delta table, appends two batches of rows, reads some of them back.
//
//   append_and_read ./weather
//   append_and_read s3://bucket/weather        credentials and region by the usual AWS chain
//
// Run it again: the batches carry their number, so they are there once all the same.
#include <arrow/api.h>

#include <cstdio>
#include <string>

#include "delta/append.h"
#include "delta/data/scan.h"
#include "delta/table.h"
#include "objectstore/object_store.h"

namespace {

using namespace millrace;

std::shared_ptr<arrow::Schema> WeatherSchema() {
  return arrow::schema({
      arrow::field("city", arrow::utf8(), /*nullable=*/false),
      arrow::field("hour", arrow::int64()),
      arrow::field("celsius", arrow::float64()),
  });
}

// One reading of each hour from `first_hour` to noon or midnight.
Result<std::shared_ptr<arrow::RecordBatch>> HalfADay(const std::string& city, std::int64_t first_hour) {
  arrow::StringBuilder cities;
  arrow::Int64Builder hours;
  arrow::DoubleBuilder degrees;
  for (std::int64_t hour = first_hour; hour < first_hour + 12; ++hour) {
    RETURN_NOT_OK(cities.Append(city));
    RETURN_NOT_OK(hours.Append(hour));
    RETURN_NOT_OK(degrees.Append(8.0 + static_cast<double>(hour < 15 ? hour : 29 - hour)));
  }
  ASSIGN_OR_RETURN(const auto city_column, cities.Finish());
  ASSIGN_OR_RETURN(const auto hour_column, hours.Finish());
  ASSIGN_OR_RETURN(const auto degree_column, degrees.Finish());
  return arrow::RecordBatch::Make(WeatherSchema(), 12, {city_column, hour_column, degree_column});
}

Status Run(const std::string& uri) {
  ASSIGN_OR_RETURN(const auto store, objectstore::OpenStore(uri));
  ASSIGN_OR_RETURN(const auto table,
                   delta::Table::OpenOrCreate(store, {.schema = WeatherSchema(), .partition_columns = {"city"}}));

  // Each append is one commit: all of its rows can be seen, by any reader, or none.
  for (std::int64_t batch = 1; batch <= 2; ++batch) {
    ASSIGN_OR_RETURN(const auto leipzig, HalfADay("Leipzig", batch == 1 ? 0 : 12));
    ASSIGN_OR_RETURN(const auto porto, HalfADay("Porto", batch == 1 ? 0 : 12));
    ASSIGN_OR_RETURN(const auto result,
                     delta::Append(*table, {leipzig, porto}, {.txn = delta::Txn{"weather-example", batch}}));
    std::printf("batch %lld %s, the table is at version %lld\n", static_cast<long long>(batch),
                result.committed ? "appended" : "was there already", static_cast<long long>(result.snapshot->version));
  }

  // Whole files and row groups are left out where partitions and statistics allow it.
  delta::ScanOptions warm_afternoon;
  warm_afternoon.columns = {"hour", "celsius"};
  warm_afternoon.where = {
      {.column = "city", .comparator = delta::Comparator::kEqual, .values = {std::string("Porto")}},
      {.column = "celsius", .comparator = delta::Comparator::kGreater, .values = {20.0}},
  };
  ASSIGN_OR_RETURN(const auto reader, delta::OpenScan(store, table->snapshot(), warm_afternoon));
  ASSIGN_OR_RETURN(const auto rows, reader->ToTable());
  std::printf("%s", rows->ToString().c_str());
  return Status::OK();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: append_and_read PATH|s3://BUCKET/PREFIX\n");
    return 2;
  }
  const Status status = Run(argv[1]);
  if (status.ok()) return 0;
  std::fprintf(stderr, "append_and_read: %s\n", status.message().c_str());
  return 1;
}
