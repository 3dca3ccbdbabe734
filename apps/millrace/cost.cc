#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <utility>

#include "base/nearest_name.h"
#include "commands.h"
#include "config/load.h"
#include "cost/price_check.h"
#include "cost/price_update.h"
#include "cost/report.h"
#include "cost/usage.h"
#include "flag_checks.h"
#include "http_get.h"
#include "service.h"
#include "text_table.h"

namespace millrace::app {
namespace {

using cost::Provider;

cost::Day Today() {
  const std::time_t now = std::time(nullptr);
  return static_cast<cost::Day>(now / 86'400);
}

Result<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in || std::filesystem::is_directory(path)) return InvalidInput("{}: cannot be read", path);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

Status WriteOut(const std::string& text, const std::string& file) {
  if (file.empty()) {
    std::fputs(text.c_str(), stdout);
    return Status::OK();
  }
  std::ofstream out(file, std::ios::binary);
  out << text;
  out.close();
  return out ? Status::OK() : InvalidInput("{}: cannot be written", file);
}

bool OnTerminal() { return isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr; }

// What every verb that needs prices has in common.
struct PriceOptions {
  std::vector<std::string> files;
  std::vector<std::string> assignments;
};

void AddPriceOptions(CLI::App& app, PriceOptions& options) {
  app.add_option("--prices", options.files, "A price sheet laid over the shipped one; may be repeated")
      ->type_name("FILE");
  app.add_option("--set-price", options.assignments, "One price: aws.disk.gp3@us-east-1=0.07; may be repeated")
      ->type_name("SKU@REGION=USD");
}

// Shipped, then /etc/millrace/prices.d in the order of names, then --prices, then --set-price: later wins.
Result<cost::PriceSheet> LoadPrices(const PriceOptions& options) {
  ASSIGN_OR_RETURN(auto sheet, cost::PriceSheet::Shipped());
  std::vector<std::string> files;
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator("/etc/millrace/prices.d", ec)) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  files.insert(files.end(), options.files.begin(), options.files.end());
  for (const auto& file : files) {
    ASSIGN_OR_RETURN(const auto text, ReadFile(file));
    RETURN_NOT_OK(sheet.Overlay(text, file));
  }
  for (const auto& assignment : options.assignments) RETURN_NOT_OK(sheet.Set(assignment, Today()));
  return sheet;
}

struct EstimateOptions {
  std::string preset;
  std::string pipeline;
  std::string live_url;
  std::string token;
  std::string usage_file;
  std::vector<std::pair<std::string, std::string>> fields;  // As flags gave them, in the order of the fields.
  std::vector<std::string> providers;
  std::vector<std::string> regions;
  PriceOptions prices;
  std::string format = "table";
  std::string out_file;
  double fail_over = -1;
  bool all_advice = false;
  bool assumptions = false;
  bool rank_regions = false;
  std::string near;
  double within_ms = 50;
};

// Tables, commit intervals, checkpoints and the log of a pipeline; its rates are unknown to its file.
void TakePipeline(const config::PipelineConfig& config, cost::Usage& usage) {
  const std::string origin = "pipeline " + config.name;
  const auto add = [&](const std::string& name, bool aggregate, const auto& table) {
    cost::TableUsage one;
    one.name = name;
    one.aggregate = aggregate;
    one.commit_seconds = std::chrono::duration<double>(table.commit.interval).count();
    if (const auto found = table.properties.find("delta.checkpointInterval"); found != table.properties.end()) {
      const double interval = std::strtod(found->second.c_str(), nullptr);
      if (interval >= 1) one.checkpoint_interval = interval;
    }
    usage.tables_detail.push_back(std::move(one));
  };
  usage.tables_detail.clear();
  for (const auto& table : config.tables) add(table.name, false, table);
  using Days = std::chrono::duration<double, std::ratio<86'400>>;
  for (const auto& aggregate : config.aggregates) {
    add(aggregate.name, true, aggregate);
    if (aggregate.retention) usage.tables_detail.back().retention_days = Days(*aggregate.retention).count();
  }
  usage.optimize = config.maintenance.enabled && config.maintenance.compaction;
  usage.origins["lake.optimize"] = origin;
  if (config.maintenance.vacuum_retention) {
    usage.vacuum_days = Days(*config.maintenance.vacuum_retention).count();
    usage.origins["lake.vacuum"] = origin;
  }
  usage.origins["lake.tables"] = origin;
  usage.origins["lake.commit"] = origin;
  if (const auto* embedded = std::get_if<config::EmbeddedSource>(&config.source.log)) {
    usage.broker_mode = cost::BrokerMode::kEmbedded;
    usage.broker_retention_hours = std::chrono::duration<double, std::ratio<3600>>(embedded->retention).count();
    usage.zones = 1;
    usage.replication = 1;
    for (const char* field : {"broker.mode", "broker.retention", "broker.zones", "broker.replication"}) {
      usage.origins[field] = origin;
    }
  }
}

// Later wins: preset, pipeline.yaml, a running instance, a usage file, flags.
Result<cost::Usage> LoadUsage(const EstimateOptions& options) {
  cost::Usage usage;
  if (!options.preset.empty()) {
    ASSIGN_OR_RETURN(usage, cost::UsagePreset(options.preset));
  }
  if (!options.pipeline.empty()) {
    const auto loaded = config::LoadConfigFile(options.pipeline, {.environment = false, .overrides = {}});
    std::string findings;
    for (const auto& finding : loaded.findings) {
      findings += (findings.empty() ? "" : "\n") + config::ToString(finding);
    }
    if (!findings.empty()) return InvalidInput("{}", findings);
    TakePipeline(loaded.config, usage);
  }
  if (!options.live_url.empty()) {
    const std::string url = options.live_url + "/v1/cost/usage";
    const auto measured = HttpGet(url, options.token, 1 << 20);
    if (!measured.ok()) {
      return WithContext(measured.status(), "--from-live (is 'millrace run' or 'millrace demo' up?)");
    }
    RETURN_NOT_OK(cost::ReadUsage(*measured, url, "measured", usage));
  }
  if (!options.usage_file.empty()) {
    ASSIGN_OR_RETURN(const auto text, ReadFile(options.usage_file));
    RETURN_NOT_OK(cost::ReadUsage(text, options.usage_file, "given", usage));
  }
  for (const auto& [name, text] : options.fields) {
    if (!text.empty()) RETURN_NOT_OK(cost::SetUsageField(usage, name, text, "given"));
  }
  return usage;
}

struct Place {
  Provider provider;
  std::string region;
};

// --provider aws,gcp and --region eu-west-1 or gcp=europe-west3. A region alone names its provider.
Result<std::vector<Place>> ChoosePlaces(const EstimateOptions& options, const cost::PriceSheet& sheet) {
  std::vector<Place> places;
  for (const auto& name : SplitNames(options.providers)) {
    ASSIGN_OR_RETURN(const auto provider, cost::ParseProvider(name));
    places.push_back({provider, std::string(cost::DefaultRegion(provider))});
  }
  const bool providers_given = !places.empty();
  for (const auto& text : SplitNames(options.regions)) {
    const auto equals = text.find('=');
    const std::string region = equals == std::string::npos ? text : text.substr(equals + 1);
    if (equals != std::string::npos || places.size() == 1) {
      Provider provider = places.empty() ? Provider::kAws : places[0].provider;
      if (equals != std::string::npos) {
        ASSIGN_OR_RETURN(provider, cost::ParseProvider(text.substr(0, equals)));
      }
      const auto place =
          std::find_if(places.begin(), places.end(), [&](const Place& p) { return p.provider == provider; });
      if (place == places.end()) {
        places.push_back({provider, region});
      } else {
        place->region = region;
      }
      continue;
    }
    std::vector<std::string> names;
    bool found = false;
    for (const auto& known : sheet.regions()) {
      names.push_back(known.name);
      if (known.name != region) continue;
      found = true;
      const auto place =
          std::find_if(places.begin(), places.end(), [&](const Place& p) { return p.provider == known.provider; });
      if (place != places.end()) {
        place->region = region;
      } else if (providers_given) {
        return InvalidInput("--region {} is one of {}, which --provider leaves out", region, ToString(known.provider));
      } else {
        places.push_back({known.provider, region});
      }
    }
    if (!found) return InvalidInput("no region '{}'{}", region, DidYouMean(region, names));
  }
  if (!places.empty()) return places;
  for (const auto provider : cost::kProviders) {
    // Nobody but their owner knows what own machines cost: they are compared once that has been said.
    if (provider == Provider::kOwn && sheet.Find("own.core", "own") == nullptr) continue;
    places.push_back({provider, std::string(cost::DefaultRegion(provider))});
  }
  return places;
}

Result<cost::Report> MakeReport(const EstimateOptions& options, const std::vector<Place>& places,
                                const cost::Usage& usage, const cost::PriceSheet& sheet) {
  cost::Report report;
  for (const auto& place : places) {
    ASSIGN_OR_RETURN(auto estimate, cost::MakeEstimate(usage, place.provider, place.region, sheet, Today()));
    if (options.format == "html" || options.format == "json") {
      ASSIGN_OR_RETURN(auto curve, cost::CurveFor(estimate, sheet));
      report.curves.push_back(std::move(curve));
    }
    report.estimates.push_back(std::move(estimate));
  }
  std::optional<cost::Near> near;
  if (!options.near.empty()) {
    ASSIGN_OR_RETURN(near, cost::ParseNear(options.near, options.within_ms, sheet));
  }
  ASSIGN_OR_RETURN(report.advice, cost::AdviceFor(report.estimates[0], sheet, near));
  if (options.rank_regions) {
    std::vector<Provider> providers;
    for (const auto& place : places) providers.push_back(place.provider);
    ASSIGN_OR_RETURN(report.ranking, cost::RankRegions(usage, providers, sheet, Today(), near));
  }
  return report;
}

int RunEstimate(const EstimateOptions& options) {
  const auto sheet = LoadPrices(options.prices);
  if (!sheet.ok()) return Complain(sheet.status(), kBadConfiguration);
  for (const auto& [name, text] : options.fields) {
    cost::Usage ignored;
    if (text.empty()) continue;
    if (const Status set = cost::SetUsageField(ignored, name, text, ""); !set.ok()) return Complain(set, kUsage);
  }
  const auto usage = LoadUsage(options);
  if (!usage.ok()) {
    return Complain(usage.status(), KindOf(usage.status()) == ErrorKind::kTransient ? kFailed : kBadConfiguration);
  }
  const auto places = ChoosePlaces(options, *sheet);
  if (!places.ok()) return Complain(places.status(), kUsage);
  const auto report = MakeReport(options, *places, *usage, *sheet);
  if (!report.ok()) return Complain(report.status(), kUsage);
  const cost::TableStyle style{.color = OnTerminal() && options.out_file.empty(),
                               .all_advice = options.all_advice,
                               .assumptions = options.assumptions};
  const std::string text = options.format == "json"    ? cost::ToJson(*report)
                           : options.format == "csv"   ? cost::ToCsv(*report)
                           : options.format == "focus" ? cost::ToFocus(*report)
                           : options.format == "html"  ? cost::ToHtml(*report)
                                                       : cost::ToTable(*report, style);
  if (const Status written = WriteOut(text, options.out_file); !written.ok()) return Complain(written);
  int code = kOk;
  for (const auto& estimate : report->estimates) {
    const std::string place = fmt::format("{} {}", DisplayName(estimate.provider), estimate.region.name);
    // The table says it itself; a program that reads the other formats may not look.
    if (options.format != "table" || options.fail_over >= 0) {
      for (const auto& missing : estimate.Missing()) {
        std::fprintf(stderr, "millrace: no sourced price for %s: the total of %s leaves it out\n", missing.c_str(),
                     place.c_str());
      }
    }
    if (options.fail_over >= 0 && estimate.total.dollars() > options.fail_over) {
      std::fprintf(stderr, "millrace: %s costs %s USD a month, more than --fail-over %.2f\n", place.c_str(),
                   ToCents(estimate.total).c_str(), options.fail_over);
      code = kFailed;
    }
  }
  return code;
}

std::string RowPrice(const cost::PriceRow& row) {
  std::string text;
  for (const auto& tier : row.tiers) {
    text += (text.empty() ? "" : ", ") + ToDecimal(tier.usd);
    if (tier.up_to) text += " to " + ToPeople(*tier.up_to);
  }
  return row.per > 1 ? fmt::format("{} per {}", text, WithThousands(row.per)) : text;
}

}  // namespace

Run AddCostEstimate(CLI::App& app) {
  auto options = std::make_shared<EstimateOptions>();
  app.add_option("-f,--usage", options->usage_file, "The load, as YAML or JSON (docs/cost.md)")->type_name("FILE");
  app.add_option("-c,--config", options->pipeline, "Tables, commit intervals and log of this pipeline")
      ->type_name("FILE");
  app.add_option("--preset", options->preset, fmt::format("{}", fmt::join(cost::UsagePresetNames(), " | ")));
  app.add_option("--from-live", options->live_url, "Measured by this running instance")->type_name("URL");
  app.add_option("--token", options->token, "Bearer token for --from-live")->envname("MILLRACE_TOKEN");
  app.add_option("--provider", options->providers, "aws, gcp, azure, own; comma-separated; default: the clouds")
      ->check(CheckNames);
  app.add_option("--region", options->regions, "eu-west-1, or gcp=europe-west3; comma-separated")->check(CheckNames);
  AddPriceOptions(app, options->prices);
  app.add_option("--format", options->format, "Of the answer")
      ->check(CLI::IsMember({"table", "json", "csv", "html", "focus"}))
      ->capture_default_str();
  app.add_option("--out-file", options->out_file, "Instead of standard output")->type_name("FILE");
  app.add_option("--fail-over", options->fail_over, "Exit 1 if a total is above this")
      ->type_name("USD")
      ->check(CheckNotNegative);
  app.add_flag("--advice", options->all_advice, "All advice, not only what saves most");
  app.add_flag("--assumptions", options->assumptions, "Every input, and whether it is assumed");
  app.add_flag("--rank-regions", options->rank_regions,
               "Every region of these providers, the cheapest first; with --near only those within");
  app.add_option("--near", options->near, "Advise the cheapest region near a city, region or latitude,longitude")
      ->type_name("PLACE");
  app.add_option("--within", options->within_ms, "Round trip to it in milliseconds")
      ->capture_default_str()
      ->check(CheckPositive);
  const auto& fields = cost::UsageFields();
  options->fields.resize(fields.size());
  for (std::size_t i = 0; i < fields.size(); ++i) {
    options->fields[i].first = fields[i].name;
    std::string flag = "--" + fields[i].name;
    std::replace(flag.begin(), flag.end(), '.', '-');
    std::replace(flag.begin(), flag.end(), '_', '-');
    app.add_option(flag, options->fields[i].second,
                   fmt::format("{}; {}", fields[i].about, fields[i].get(cost::Usage())))
        ->type_name(fields[i].choices.empty() ? fields[i].unit : fmt::format("{}", fmt::join(fields[i].choices, "|")))
        ->group("The load");
  }
  return [options] { return RunEstimate(*options); };
}

Run AddCostDiff(CLI::App& app) {
  auto files = std::make_shared<std::pair<std::string, std::string>>();
  app.add_option("before", files->first, "An estimate with --format json")->required();
  app.add_option("after", files->second, "Another one")->required();
  return [files] {
    const auto before = ReadFile(files->first);
    if (!before.ok()) return Complain(before.status());
    const auto after = ReadFile(files->second);
    if (!after.ok()) return Complain(after.status());
    const auto diff = cost::Diff(*before, *after, OnTerminal());
    if (!diff.ok()) return Complain(diff.status());
    std::fputs(diff->c_str(), stdout);
    return kOk;
  };
}

Run AddCostPricesList(CLI::App& app) {
  struct Options {
    std::string provider;
    std::string region;
    bool missing = false;
    PriceOptions prices;
  };
  auto options = std::make_shared<Options>();
  app.add_option("--provider", options->provider, "Only of this provider");
  app.add_option("--region", options->region, "Only what holds in this region");
  app.add_flag("--missing", options->missing, "What has no price instead");
  AddPriceOptions(app, options->prices);
  return [options] {
    const auto sheet = LoadPrices(options->prices);
    if (!sheet.ok()) return Complain(sheet.status(), kBadConfiguration);
    std::optional<Provider> only;
    if (!options->provider.empty()) {
      const auto parsed = cost::ParseProvider(options->provider);
      if (!parsed.ok()) return Complain(parsed.status(), kUsage);
      only = *parsed;
    }
    std::vector<std::string> names;
    for (const auto& region : sheet->regions()) names.push_back(region.name);
    if (!options->region.empty() && std::find(names.begin(), names.end(), options->region) == names.end()) {
      return Complain(InvalidInput("no region '{}'{}", options->region, DidYouMean(options->region, names)), kUsage);
    }
    std::vector<std::vector<std::string>> rows = {
        options->missing ? std::vector<std::string>{"sku", "region", "name"}
                         : std::vector<std::string>{"sku", "region", "unit", "usd", "source", "in force", "sheet"}};
    for (const auto& sku : cost::AllSkus()) {
      for (const auto& region : sheet->regions()) {
        if ((only && region.provider != *only) || !sku.IsSoldBy(region.provider)) continue;
        if (!options->region.empty() && region.name != options->region) continue;
        const auto* row = sheet->Find(sku.id, region.name);
        if (options->missing && row == nullptr) {
          rows.push_back({std::string(sku.id), region.name, std::string(sku.name)});
        } else if (!options->missing && row != nullptr) {
          rows.push_back({row->sku, region.name, std::string(sku.unit), RowPrice(*row), row->source->id,
                          cost::ToText(row->source->as_of), row->sheet});
        }
      }
    }
    std::fputs(RenderTable(rows).c_str(), stdout);
    return kOk;
  };
}

Run AddCostPricesShow(CLI::App& app) {
  struct Options {
    std::string sku;
    PriceOptions prices;
  };
  auto options = std::make_shared<Options>();
  app.add_option("sku", options->sku, "Such as aws.s3.standard.storage")->required();
  AddPriceOptions(app, options->prices);
  return [options] {
    const auto sheet = LoadPrices(options->prices);
    if (!sheet.ok()) return Complain(sheet.status(), kBadConfiguration);
    const auto* sku = cost::FindSku(options->sku);
    if (sku == nullptr) {
      std::vector<std::string> names;
      for (const auto& known : cost::AllSkus()) names.emplace_back(known.id);
      return Complain(InvalidInput("no SKU '{}'{}", options->sku, DidYouMean(options->sku, names)), kUsage);
    }
    std::printf("%s: %s, by the %s\n\n", std::string(sku->id).c_str(), std::string(sku->name).c_str(),
                std::string(sku->unit).c_str());
    std::vector<std::string> without;
    for (const auto& region : sheet->regions()) {
      if (!sku->IsSoldBy(region.provider)) continue;
      const auto* row = sheet->Find(sku->id, region.name);
      if (row == nullptr) {
        without.push_back(region.name);
        continue;
      }
      std::printf("%s (%s): %s%s\n  %s, in force %s, read %s, sheet %s\n  %s\n", region.name.c_str(),
                  region.place.c_str(), RowPrice(*row).c_str(), row->region == "*" ? ", alike in all regions" : "",
                  row->source->kind.c_str(), cost::ToText(row->source->as_of).c_str(),
                  cost::ToText(row->source->retrieved).c_str(), row->sheet.c_str(), row->source->url.c_str());
      const std::string about = row->source->about + (row->note.empty() ? "" : "; " + row->note);
      if (!about.empty()) std::printf("  %s\n", about.c_str());
    }
    if (!without.empty()) std::printf("\nNo sourced price: %s\n", fmt::format("{}", fmt::join(without, ", ")).c_str());
    return kOk;
  };
}

// "52 of 56" and so on, a line for each region of the sheet.
std::string CoverageTable(const cost::PriceSheet& sheet) {
  std::vector<std::vector<std::string>> rows = {{"provider", "region", "place", "priced", "old", "missing"}};
  for (const auto& coverage : cost::CoverageOf(sheet, Today())) {
    constexpr std::size_t kNamesMax = 4;
    const auto& missing = coverage.missing;
    std::string names = fmt::format(
        "{}", fmt::join(missing.begin(),
                        missing.begin() + static_cast<std::ptrdiff_t>(std::min(missing.size(), kNamesMax)), ", "));
    if (missing.size() > kNamesMax) names += fmt::format(" and {} more", missing.size() - kNamesMax);
    rows.push_back({std::string(ToString(coverage.region.provider)), coverage.region.name, coverage.region.place,
                    fmt::format("{} of {}", coverage.priced, coverage.skus), std::to_string(coverage.old),
                    std::move(names)});
  }
  return rows.size() > 1 ? RenderTable(rows) : "";
}

// An overlay may name regions of the shipped sheet, so what does not stand on its own is read on top of it.
Result<cost::PriceSheet> ReadSheet(const std::string& file) {
  ASSIGN_OR_RETURN(const auto text, ReadFile(file));
  auto alone = cost::PriceSheet::Read(text, file);
  if (alone.ok()) return alone;
  ASSIGN_OR_RETURN(auto below, cost::PriceSheet::Shipped());
  RETURN_NOT_OK(below.Overlay(text, file));
  return below;
}

Run AddCostPricesVerify(CLI::App& app) {
  auto files = std::make_shared<std::vector<std::string>>();
  app.add_option("files", *files, "Price sheets; none: the shipped one");
  return [files] {
    int code = kOk;
    const auto check = [&](const Result<cost::PriceSheet>& sheet, const std::string& name) {
      if (!sheet.ok()) {
        std::fprintf(stderr, "%s\n", sheet.status().message().c_str());
        code = kBadConfiguration;
        return;
      }
      const auto odd = cost::OddPrices(*sheet, Today());
      for (const auto& finding : odd) std::fprintf(stderr, "%s: odd: %s\n", name.c_str(), finding.c_str());
      if (!odd.empty() && code == kOk) code = kFailed;
      int old = 0;
      for (const auto& row : sheet->rows()) old += Today() - row.source->as_of > cost::kPriceAgeDaysMax ? 1 : 0;
      std::printf("%s%s: %s: %zu prices, each with unit, source and days; %d older than %d days; sha256 %s\n",
                  CoverageTable(*sheet).c_str(), name.c_str(),
                  odd.empty() ? "ok" : fmt::format("{} odd", odd.size()).c_str(), sheet->rows().size(), old,
                  cost::kPriceAgeDaysMax, sheet->sha256().c_str());
    };
    if (files->empty()) check(cost::PriceSheet::Shipped(), "shipped");
    for (const auto& file : *files) check(ReadSheet(file), file);
    return code;
  };
}

Run AddCostPricesUpdate(CLI::App& app) {
  struct Options {
    std::string provider;
    std::string from;
    std::string out_file;
  };
  auto options = std::make_shared<Options>();
  app.add_option("--provider", options->provider, "aws | azure")->required();
  app.add_option(
         "--from", options->from,
         "The price file, or its URL. aws: "
         "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonS3/current/us-east-1/index.json; azure: "
         "https://prices.azure.com/api/retail/prices?$filter=armRegionName eq 'eastus'")
      ->type_name("FILE|URL")
      ->required();
  app.add_option("--out-file", options->out_file, "The sheet, for --prices or /etc/millrace/prices.d; default: stdout")
      ->type_name("FILE");
  return [options] {
    const auto provider = cost::ParseProvider(options->provider);
    if (!provider.ok()) return Complain(provider.status(), kUsage);
    const auto known = cost::PriceSheet::Shipped();
    if (!known.ok()) return Complain(known.status());
    const bool is_url = options->from.starts_with("https://") || options->from.starts_with("http://");
    constexpr std::int64_t kPriceFileBytesMax = 512 << 20;
    const auto text = is_url ? HttpGet(options->from, "", kPriceFileBytesMax) : ReadFile(options->from);
    if (!text.ok()) return Complain(text.status());
    const auto update = cost::ReadPriceFile(*provider, *text, options->from, Today(), *known);
    if (!update.ok()) return Complain(update.status());
    if (const Status written = WriteOut(update->sheet, options->out_file); !written.ok()) return Complain(written);
    std::fprintf(stderr, "%d prices; not in this file: %s\n", update->num_prices,
                 fmt::format("{}", fmt::join(update->not_in_it, ", ")).c_str());
    return kOk;
  };
}

}  // namespace millrace::app
