#include <CLI/CLI.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_from.hpp>
#include <boost/json/value_to.hpp>
#include <cstdio>
#include <memory>

#include "commands.h"
#include "delta/data/data_file.h"
#include "flag_checks.h"
#include "lake_table.h"
#include "pipeline/table_documents.h"
#include "query/time_expression.h"
#include "text_table.h"

namespace millrace::app {
namespace {

namespace json = boost::json;

struct LakeFlags {
  lake::TableAt at;
  std::string output = "table";
  std::int64_t limit = 20;
};

std::shared_ptr<LakeFlags> AddTableOptions(CLI::App& app) {
  auto options = std::make_shared<LakeFlags>();
  lake::AddTable(app, options->at);
  app.add_option("-o,--output", options->output, "Format")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  return options;
}

std::string TextOf(const json::object& object, const char* member) {
  const auto* value = object.if_contains(member);
  if (value == nullptr) return "";
  return value->is_string() ? json::value_to<std::string>(*value) : json::serialize(*value);
}

std::vector<std::string> FeaturesOf(const std::optional<std::vector<std::string>>& features) {
  return features.value_or(std::vector<std::string>());
}

}  // namespace

Run AddLakeDescribe(CLI::App& app) {
  auto options = AddTableOptions(app);
  lake::AddVersion(app, options->at);
  return [options] {
    const auto opened = lake::Open(options->at);
    if (!opened.ok()) return Complain(opened.status());
    const auto& [store, snapshot] = *opened;
    std::int64_t rows = 0;
    bool rows_known = true;
    for (const auto& [path, file] : snapshot->files) {
      const auto count = delta::NumLiveRecords(file);
      rows_known &= count.has_value();
      rows += count.value_or(0);
    }
    if (options->output == "json") {
      json::array columns;
      for (const auto& field : snapshot->schema->fields()) {
        columns.push_back(json::object{
            {"name", field->name()}, {"type", field->type()->ToString()}, {"nullable", field->nullable()}});
      }
      json::object txns;
      for (const auto& [id, txn] : snapshot->txns) txns[id] = txn.version;
      json::object description{{"uri", store->uri()},
                               {"id", snapshot->metadata.id},
                               {"version", snapshot->version},
                               {"min_reader_version", snapshot->protocol.min_reader_version},
                               {"min_writer_version", snapshot->protocol.min_writer_version},
                               {"reader_features", json::value_from(FeaturesOf(snapshot->protocol.reader_features))},
                               {"writer_features", json::value_from(FeaturesOf(snapshot->protocol.writer_features))},
                               {"files", static_cast<std::int64_t>(snapshot->files.size())},
                               {"bytes", snapshot->num_bytes},
                               {"rows", rows_known ? json::value(rows) : json::value(nullptr)},
                               {"partition_by", json::value_from(snapshot->metadata.partition_columns)},
                               {"properties", json::value_from(snapshot->metadata.configuration)},
                               {"columns", std::move(columns)},
                               {"txns", std::move(txns)}};
      std::printf("%s\n", json::serialize(description).c_str());
      return kOk;
    }
    std::printf(
        "%s\n",
        RenderTable({{"table", store->uri()},
                     {"version", std::to_string(snapshot->version)},
                     {"protocol", fmt::format("reader {}, writer {}", snapshot->protocol.min_reader_version,
                                              snapshot->protocol.min_writer_version)},
                     {"files", WithThousands(static_cast<long long>(snapshot->files.size()))},
                     {"size", HumanBytes(snapshot->num_bytes)},
                     {"rows", rows_known ? WithThousands(rows) : "not known"},
                     {"partitioned by", fmt::format("{}", fmt::join(snapshot->metadata.partition_columns, ", "))}})
            .c_str());
    std::vector<std::vector<std::string>> columns = {{"column", "type", "nullable"}};
    for (const auto& field : snapshot->schema->fields()) {
      columns.push_back({field->name(), field->type()->ToString(), field->nullable() ? "yes" : "no"});
    }
    std::printf("%s\n", RenderTable(columns).c_str());
    std::vector<std::vector<std::string>> txns = {{"transaction id", "version"}};
    for (const auto& [id, txn] : snapshot->txns) {
      if (id.find('#') == std::string::npos) txns.push_back({id, std::to_string(txn.version)});
    }
    if (txns.size() > 1) std::printf("%s", RenderTable(txns).c_str());
    return kOk;
  };
}

Run AddLakeHistory(CLI::App& app) {
  auto options = AddTableOptions(app);
  app.add_option("--limit", options->limit, "Newest commits to show")->capture_default_str()->check(WholeNumber(1));
  return [options] {
    const auto table = lake::OpenTable(options->at);
    if (!table.ok()) return Complain(table.status());
    const auto history = (*table)->History(options->limit);
    if (!history.ok()) return Complain(history.status());
    std::vector<std::vector<std::string>> rows = {{"version", "time", "operation", "files +", "files -", "rows", "by"}};
    for (const auto& entry : *history) {
      const auto document = pipeline::HistoryEntryJson(entry);
      if (!document.ok()) return Complain(document.status());
      if (options->output == "json") {
        std::printf("%s\n", json::serialize(*document).c_str());
        continue;
      }
      const auto& info = document->at("commitInfo").as_object();
      const auto* timestamp = info.if_contains("timestamp");
      const auto* metrics = info.if_contains("operationMetrics");
      rows.push_back(
          {std::to_string(entry.version),
           timestamp != nullptr && timestamp->is_int64() ? query::FormatTime(timestamp->as_int64() * 1000) : "",
           TextOf(info, "operation"), std::to_string(entry.num_added), std::to_string(entry.num_removed),
           metrics != nullptr && metrics->is_object() ? TextOf(metrics->as_object(), "numOutputRows") : "",
           TextOf(info, "engineInfo")});
    }
    if (options->output != "json") std::printf("%s", RenderTable(rows).c_str());
    return kOk;
  };
}

Run AddLakeFiles(CLI::App& app) {
  auto options = AddTableOptions(app);
  lake::AddVersion(app, options->at);
  return [options] {
    const auto opened = lake::Open(options->at);
    if (!opened.ok()) return Complain(opened.status());
    std::vector<std::vector<std::string>> rows = {{"path", "size", "rows", "deleted", "partition", "modified"}};
    for (const auto& [key, file] : opened->snapshot->files) {
      if (options->output == "json") {
        std::printf("%s\n", json::serialize(pipeline::FileJson(file)).c_str());
        continue;
      }
      const auto count = delta::NumRecords(file);
      const std::int64_t deleted = file.deletion_vector ? file.deletion_vector->cardinality : 0;
      std::vector<std::string> partition;
      for (const auto& [column, value] : file.partition_values)
        partition.push_back(column + "=" + value.value_or("null"));
      rows.push_back({file.path, std::to_string(file.size), count ? std::to_string(*count) : "",
                      deleted > 0 ? std::to_string(deleted) : "", fmt::format("{}", fmt::join(partition, " ")),
                      query::FormatTime(file.modification_time_ms * 1000)});
    }
    if (options->output != "json") std::printf("%s", RenderTable(rows).c_str());
    return kOk;
  };
}

}  // namespace millrace::app
