#include "databases.h"

#include <dlfcn.h>
#include <duckdb.h>

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

namespace millrace::simulation {
namespace {

using Settings = std::map<std::string, std::string>;

// Whoever runs is alone; before there are tasks one thread opens databases.
std::map<duckdb_config, Settings>& Configs() {
  static std::map<duckdb_config, Settings> configs;
  return configs;
}
std::map<Settings, std::vector<duckdb_database>>& Stock() {
  static std::map<Settings, std::vector<duckdb_database>> stock;
  return stock;
}
bool notes_kinds = false;

template <typename Function>
Function Real(const char* name) {
  void* const found = ::dlsym(RTLD_NEXT, name);
  if (found == nullptr) std::abort();
  return reinterpret_cast<Function>(found);
}

duckdb_database Open(const Settings& settings) {
  duckdb_config config = nullptr;
  duckdb_database database = nullptr;
  char* message = nullptr;
  if (duckdb_create_config(&config) != DuckDBSuccess) std::abort();
  const auto set = Real<decltype(&duckdb_set_config)>("duckdb_set_config");
  for (const auto& [name, value] : settings) set(config, name.c_str(), value.c_str());
  const auto open = Real<decltype(&duckdb_open_ext)>("duckdb_open_ext");
  if (open(nullptr, &database, config, &message) != DuckDBSuccess) std::abort();
  duckdb_destroy_config(&config);
  return database;
}

}  // namespace

void StockDatabases(int of_each, const std::function<void()>& open) {
  notes_kinds = true;
  open();
  notes_kinds = false;
  for (auto& [settings, databases] : Stock()) {
    while (static_cast<int>(databases.size()) < of_each) databases.push_back(Open(settings));
  }
}

}  // namespace millrace::simulation

namespace sim = millrace::simulation;

extern "C" {

duckdb_state duckdb_set_config(duckdb_config config, const char* name, const char* option) {
  static const auto real = sim::Real<decltype(&duckdb_set_config)>("duckdb_set_config");
  sim::Configs()[config][name] = option;
  return real(config, name, option);
}

duckdb_state duckdb_open_ext(const char* path, duckdb_database* out, duckdb_config config, char** error) {
  static const auto real = sim::Real<decltype(&duckdb_open_ext)>("duckdb_open_ext");
  const auto settings = sim::Configs().find(config);
  if (path != nullptr || settings == sim::Configs().end()) return real(path, out, config, error);
  const sim::Settings key = settings->second;
  sim::Configs().erase(settings);
  const auto found = sim::Stock().find(key);
  if (found != sim::Stock().end() && !found->second.empty()) {
    *out = found->second.back();
    found->second.pop_back();
    return DuckDBSuccess;
  }
  // Several threads would not be there in a process that is forked.
  if (sim::notes_kinds && key.at("threads") == "1") sim::Stock()[key];
  return real(path, out, config, error);
}

}  // extern "C"
