#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_from.hpp>
#include <cctype>
#include <map>
#include <utility>

#include "cost/report.h"

namespace millrace::cost {
namespace {

namespace json = boost::json;

json::value MoneyOrNull(const std::optional<Money>& money) {
  return money ? json::value(ToDecimal(*money)) : json::value(nullptr);
}

json::object ComponentJson(const Component& component) {
  const auto& line = *component.line;
  json::object object{{"name", component.name},
                      {"unit", FindSku(line.resource.sku)->unit},
                      {"monthlyQuantity", ToDecimal(component.quantity)},
                      {"price", component.usd ? json::value(UnitPrice(*component.usd, component.per)) : nullptr},
                      {"monthlyCost", component.usd ? json::value(ToDecimal(component.money)) : nullptr},
                      {"usageBased", line.resource.scales},
                      {"priceNotFound", !component.usd.has_value()},
                      {"sku", line.resource.sku},
                      {"rule", line.resource.rule}};
  if (line.price) {
    const auto& source = *line.price->source;
    object["source"] = json::object{{"id", source.id},
                                    {"url", source.url},
                                    {"asOf", ToText(source.as_of)},
                                    {"retrieved", ToText(source.retrieved)},
                                    {"kind", source.kind},
                                    {"about", source.about},
                                    {"sheet", line.price->sheet},
                                    {"note", line.price->note}};
  }
  return object;
}

json::object EstimateJson(const Estimate& estimate) {
  json::array resources;
  for (int c = 0; c < kNumCategories; ++c) {
    json::array components;
    for (const auto& line : estimate.lines) {
      if (line.resource.category != static_cast<Category>(c)) continue;
      for (const auto& component : ComponentsOf(line)) components.push_back(ComponentJson(component));
    }
    if (components.empty()) continue;
    resources.push_back(json::object{{"name", ToString(static_cast<Category>(c))},
                                     {"resourceType", "millrace"},
                                     {"monthlyCost", ToDecimal(estimate.by_category[static_cast<std::size_t>(c)])},
                                     {"costComponents", std::move(components)}});
  }
  return {{"name", fmt::format("{}/{}", ToString(estimate.provider), estimate.region.name)},
          {"metadata",
           json::object{{"provider", ToString(estimate.provider)},
                        {"providerName", DisplayName(estimate.provider)},
                        {"region", estimate.region.name},
                        {"place", estimate.region.place},
                        {"complete", estimate.complete()},
                        {"missing", json::value_from(estimate.Missing())},
                        {"oldPrices", estimate.old_prices},
                        {"oldestPrice", estimate.oldest_price == 0 ? json::value(nullptr)
                                                                   : json::value(ToText(estimate.oldest_price))},
                        {"overridden", json::value_from(estimate.overridden)},
                        {"perMillionEvents", MoneyOrNull(estimate.per_million_events)},
                        {"perGB", MoneyOrNull(estimate.per_gb)}}},
          {"breakdown",
           json::object{{"resources", std::move(resources)}, {"totalMonthlyCost", ToDecimal(estimate.total)}}}};
}

json::array RankingJson(const std::vector<RankedRegion>& ranking) {
  json::array regions;
  for (const auto& entry : ranking) {
    regions.push_back(
        json::object{{"provider", ToString(entry.region.provider)},
                     {"region", entry.region.name},
                     {"place", entry.region.place},
                     {"totalMonthlyCost", ToDecimal(entry.total)},
                     {"complete", entry.missing.empty()},
                     {"missing", json::value_from(entry.missing)},
                     {"roundTripMs", entry.round_trip_ms ? json::value(*entry.round_trip_ms) : json::value(nullptr)}});
  }
  return regions;
}

json::array UsageJson(const Usage& usage) {
  json::array fields;
  for (const auto& field : UsageFields()) {
    const auto origin = usage.origins.find(field.name);
    fields.push_back(json::object{{"name", field.name},
                                  {"value", field.name == "lake.tables" && !usage.tables_detail.empty()
                                                ? std::to_string(usage.tables_detail.size())
                                                : field.get(usage)},
                                  {"origin", origin == usage.origins.end() ? "assumed" : origin->second}});
  }
  return fields;
}

// As RFC 4180 has it.
std::string CsvField(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}
std::string CsvRow(const std::vector<std::string>& fields) {
  std::string row;
  for (const auto& field : fields) row += (row.empty() ? "" : ",") + CsvField(field);
  return row + "\r\n";
}

std::string_view FocusCategory(Category category) {
  switch (category) {
    case Category::kCompute:
    case Category::kKubernetes:
      return "Compute";
    case Category::kEventLog:
      return "Integration";
    case Category::kStorage:
      return "Storage";
    case Category::kLoadBalancer:
    case Category::kBandwidth:
    case Category::kZoneTraffic:
      return "Networking";
    case Category::kSqlDatabase:
      return "Databases";
  }
  return "Other";
}

// A line of a document of ToJson(): where it stands -> what it costs; no money: its price was not found.
using DocumentLines = std::map<std::string, std::optional<Money>>;

struct Document {
  DocumentLines lines;
  std::map<std::string, Money> totals;  // By project.
};

// The size of a tier and the number of machines are no part of a line's name: a larger load has the same lines.
std::string NameWithoutCounts(const std::string& name) {
  const auto tier = name.find(" (");
  const auto count = name.find(": ");
  const bool counted = count != std::string::npos && count + 2 < name.size() && std::isdigit(name[count + 2]) != 0;
  return name.substr(0, std::min(tier, counted ? count : std::string::npos));
}

Result<Document> ReadDocument(const std::string& text, const char* which) {
  boost::system::error_code error;
  const auto parsed = json::parse(text, error);
  if (error) return InvalidInput("{}: not JSON: {}", which, error.message());
  Document document;
  try {
    for (const auto& project : parsed.at("projects").as_array()) {
      const std::string name(project.at("name").as_string());
      const auto& breakdown = project.at("breakdown");
      ASSIGN_OR_RETURN(document.totals[name], Money::Parse(std::string(breakdown.at("totalMonthlyCost").as_string())));
      for (const auto& resource : breakdown.at("resources").as_array()) {
        for (const auto& component : resource.at("costComponents").as_array()) {
          const std::string line(component.at("name").as_string());
          const std::string key =
              fmt::format("{}: {}: {}", name, std::string(resource.at("name").as_string()), NameWithoutCounts(line));
          auto& money = document.lines[key];
          if (component.at("monthlyCost").is_null()) continue;
          ASSIGN_OR_RETURN(const Money cost, Money::Parse(std::string(component.at("monthlyCost").as_string())));
          money = money.value_or(Money()) + cost;
        }
      }
    }
  } catch (const std::exception&) {
    return InvalidInput("{}: not an estimate: 'millrace cost estimate --format json' writes one", which);
  }
  return document;
}

std::string Signed(Money money) { return (money < Money() ? "" : "+") + ToCents(money); }

}  // namespace

std::string ToJson(const Report& report) {
  json::array projects;
  Money total;
  for (const auto& estimate : report.estimates) {
    projects.push_back(EstimateJson(estimate));
    total += estimate.total;
  }
  json::array advice;
  for (const auto& entry : report.advice) {
    advice.push_back(json::object{{"id", entry.id},
                                  {"title", entry.title},
                                  {"arithmetic", entry.arithmetic},
                                  {"monthlySaving", ToDecimal(entry.saving)}});
  }
  json::array curves;
  for (const auto& curve : report.curves) {
    json::array points;
    for (const auto& point : curve.points) {
      points.push_back(json::object{{"eventsPerSecond", point.events_per_second},
                                    {"totalMonthlyCost", ToDecimal(point.total)},
                                    {"complete", point.complete}});
    }
    curves.push_back(json::object{{"provider", ToString(curve.provider)}, {"points", std::move(points)}});
  }
  const auto& first = report.estimates.front();
  json::object document{
      {"version", "0.2"},
      {"currency", "USD"},
      {"timeGenerated", ToText(first.today) + "T00:00:00Z"},
      {"projects", std::move(projects)},
      {"summary",
       json::object{{"load", Describe(first.usage)}, {"priceSheet", first.sheet}, {"priceSheetSha256", first.sha256}}},
      {"usage", UsageJson(first.usage)},
      {"advice", std::move(advice)},
      {"adviceFor", ToString(report.estimates[report.advice_for].provider)},
      {"curves", std::move(curves)},
      {"regions", RankingJson(report.ranking)}};
  // Alternatives are not added up.
  if (report.estimates.size() == 1) document["totalMonthlyCost"] = ToDecimal(total);
  return json::serialize(document) + "\n";
}

std::string ToCsv(const Report& report) {
  std::string text = CsvRow({"provider", "region", "category", "name", "sku", "monthly_quantity", "unit", "price",
                             "per", "monthly_cost", "source", "source_url", "as_of", "rule"});
  for (const auto& estimate : report.estimates) {
    for (const auto& line : estimate.lines) {
      for (const auto& component : ComponentsOf(line)) {
        text += CsvRow({std::string(ToString(estimate.provider)), estimate.region.name,
                        std::string(ToString(line.resource.category)), component.name, line.resource.sku,
                        ToDecimal(component.quantity), std::string(FindSku(line.resource.sku)->unit),
                        component.usd ? ToDecimal(*component.usd) : "", std::to_string(component.per),
                        component.usd ? ToDecimal(component.money) : "", line.price ? line.price->source->id : "",
                        line.price ? line.price->source->url : "", line.price ? ToText(line.price->source->as_of) : "",
                        line.resource.rule});
      }
    }
  }
  return text;
}

std::string ToFocus(const Report& report) {
  std::string text = CsvRow({"BillingCurrency",
                             "BillingPeriodStart",
                             "BillingPeriodEnd",
                             "ChargeCategory",
                             "ChargeDescription",
                             "ChargeFrequency",
                             "ChargePeriodStart",
                             "ChargePeriodEnd",
                             "ConsumedQuantity",
                             "ConsumedUnit",
                             "ListCost",
                             "ListUnitPrice",
                             "PricingCategory",
                             "PricingCurrency",
                             "PricingQuantity",
                             "PricingUnit",
                             "ProviderName",
                             "PublisherName",
                             "RegionId",
                             "RegionName",
                             "ServiceCategory",
                             "ServiceName",
                             "SkuId"});
  for (const auto& estimate : report.estimates) {
    const std::string today = ToText(estimate.today);
    const std::string begin = today.substr(0, 8) + "01";
    // The first of the next month: 32 days later, then back to its first.
    const std::string end = ToText(*ParseDay(begin) + 32).substr(0, 8) + "01";
    const std::string provider(DisplayName(estimate.provider));
    for (const auto& line : estimate.lines) {
      // A cost that nobody knows has no place among costs; the other formats report it.
      if (!line.price) continue;
      for (const auto& component : ComponentsOf(line)) {
        text += CsvRow({"USD",
                        begin + "T00:00:00Z",
                        end + "T00:00:00Z",
                        "Usage",
                        component.name,
                        "Usage-Based",
                        begin + "T00:00:00Z",
                        end + "T00:00:00Z",
                        ToDecimal(component.quantity),
                        std::string(FindSku(line.resource.sku)->unit),
                        ToDecimal(component.money),
                        UnitPrice(*component.usd, component.per),
                        "Standard",
                        "USD",
                        ToDecimal(component.quantity),
                        std::string(FindSku(line.resource.sku)->unit),
                        provider,
                        provider,
                        estimate.region.name,
                        estimate.region.place,
                        std::string(FocusCategory(line.resource.category)),
                        std::string(FindSku(line.resource.sku)->name),
                        line.resource.sku});
      }
    }
  }
  return text;
}

Result<std::string> Diff(const std::string& before, const std::string& after, bool color) {
  ASSIGN_OR_RETURN(const auto old_document, ReadDocument(before, "the first file"));
  ASSIGN_OR_RETURN(const auto new_document, ReadDocument(after, "the second file"));
  const auto paint = [&](const char* code, const std::string& text) {
    return color ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
  };
  const auto shown = [](const std::optional<Money>& money) { return money ? ToCents(*money) : "no price"; };
  std::string text;
  auto lines = old_document.lines;
  lines.insert(new_document.lines.begin(), new_document.lines.end());  // The keys of both, in order.
  for (const auto& [key, ignored] : lines) {
    const auto old_line = old_document.lines.find(key);
    const auto new_line = new_document.lines.find(key);
    if (old_line == old_document.lines.end()) {
      text += paint("32", fmt::format("+ {}  {}", key, shown(new_line->second))) + "\n";
    } else if (new_line == new_document.lines.end()) {
      text += paint("31", fmt::format("- {}  {}", key, shown(old_line->second))) + "\n";
    } else if (old_line->second != new_line->second) {
      const bool known = old_line->second && new_line->second;
      text +=
          paint("33", fmt::format("~ {}  {} -> {}{}", key, shown(old_line->second), shown(new_line->second),
                                  known ? fmt::format(" ({})", Signed(*new_line->second - *old_line->second)) : "")) +
          "\n";
    }
  }
  if (text.empty()) text = "No line differs.\n";
  for (const auto& [project, total] : new_document.totals) {
    const auto old_total = old_document.totals.find(project);
    if (old_total == old_document.totals.end()) {
      text += fmt::format("Total {}: {}\n", project, ToCents(total));
    } else {
      text += fmt::format("Total {}: {} -> {} ({})\n", project, ToCents(old_total->second), ToCents(total),
                          Signed(total - old_total->second));
    }
  }
  for (const auto& [project, total] : old_document.totals) {
    if (!new_document.totals.contains(project)) text += fmt::format("Gone: {}, {}\n", project, ToCents(total));
  }
  return text;
}

}  // namespace millrace::cost
