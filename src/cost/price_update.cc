#include "cost/price_update.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "cost/machines.h"

namespace millrace::cost {
namespace {

namespace json = boost::json;

// What must hold of a product's attributes for it to be one of our SKUs. A value that begins with '*' is an ending:
// AWS puts a region's code before its usage types.
struct Match {
  const char* attribute;
  std::string value;
};
struct Rule {
  std::string_view sku;
  std::vector<Match> matches;
};

// A provider's machines, each with the attributes by which its price file names it, and then its other SKUs.
std::vector<Rule> WithMachines(Provider provider, std::vector<Match> (*matches)(std::string_view name),
                               const std::vector<Rule>& others) {
  std::vector<Rule> rules;
  for (const auto& machine : AllMachines()) {
    if (machine.provider == provider) rules.push_back({machine.sku, matches(machine.name)});
  }
  rules.insert(rules.end(), others.begin(), others.end());
  return rules;
}

std::vector<Match> AwsMachine(std::string_view name) {
  return {{"instanceType", std::string(name)},
          {"operatingSystem", "Linux"},
          {"tenancy", "Shared"},
          {"preInstalledSw", "NA"},
          {"capacitystatus", "Used"}};
}

// "D2s v5" is Standard_D2s_v5 there.
std::vector<Match> AzureMachine(std::string_view name) {
  std::string arm_name = "Standard_" + std::string(name);
  std::replace(arm_name.begin(), arm_name.end(), ' ', '_');
  return {{"armSkuName", std::move(arm_name)}, {"skuName", std::string(name)}};
}

const std::vector<Rule>& AwsRules() {
  static const std::vector<Rule> rules = WithMachines(
      Provider::kAws, AwsMachine,
      {
          {"aws.disk.gp3", {{"volumeApiName", "gp3"}, {"usagetype", "*EBS:VolumeUsage.gp3"}}},
          {"aws.s3.standard.storage", {{"volumeType", "Standard"}, {"usagetype", "*TimedStorage-ByteHrs"}}},
          {"aws.s3.standard.put", {{"group", "S3-API-Tier1"}, {"usagetype", "*Requests-Tier1"}}},
          {"aws.s3.standard.get", {{"group", "S3-API-Tier2"}, {"usagetype", "*Requests-Tier2"}}},
          {"aws.alb.hour", {{"operation", "LoadBalancing:Application"}, {"usagetype", "*LoadBalancerUsage"}}},
          {"aws.alb.lcu", {{"operation", "LoadBalancing:Application"}, {"usagetype", "*LCUUsage"}}},
          {"aws.eks", {{"usagetype", "*AmazonEKS-Hours:perCluster"}}},
          {"aws.msk.m5.large", {{"usagetype", "*Kafka.m5.large"}}},
          {"aws.msk.storage", {{"usagetype", "*Kafka.Storage.GP2"}}},
          {"aws.msk.express.m7g.large", {{"usagetype", "*Express.m7g.large"}}},
          {"aws.msk.express.storage", {{"usagetype", "*Express.Storage"}}},
          {"aws.msk.serverless.cluster", {{"usagetype", "*KafkaServerless-ClusterHours"}}},
          {"aws.msk.serverless.partition", {{"usagetype", "*KafkaServerless-PartitionHours"}}},
          {"aws.nat.hour", {{"usagetype", "*NatGateway-Hours"}, {"operation", "NatGateway"}}},
          {"aws.nat.data", {{"usagetype", "*NatGateway-Bytes"}, {"operation", "NatGateway"}}},
      });
  return rules;
}

const std::vector<Rule>& AzureRules() {
  static const std::vector<Rule> rules = WithMachines(
      Provider::kAzure, AzureMachine,
      {
          {"azure.blob.hot-lrs.storage",
           {{"productName", "General Block Blob v2"}, {"meterName", "Hot LRS Data Stored"}}},
          {"azure.blob.hot-lrs.write",
           {{"productName", "General Block Blob v2"}, {"meterName", "Hot LRS Write Operations"}}},
          {"azure.blob.hot-lrs.read", {{"productName", "General Block Blob v2"}, {"meterName", "Hot Read Operations"}}},
          {"azure.lb.hour",
           {{"serviceName", "Load Balancer"}, {"meterName", "Standard Included LB Rules and Outbound Rules"}}},
          {"azure.lb.data", {{"serviceName", "Load Balancer"}, {"meterName", "Standard Data Processed"}}},
          {"azure.aks", {{"serviceName", "Azure Kubernetes Service"}, {"meterName", "Standard Uptime SLA"}}},
          {"azure.eventhubs.tu", {{"serviceName", "Event Hubs"}, {"meterName", "Standard Throughput Unit"}}},
          {"azure.eventhubs.events", {{"serviceName", "Event Hubs"}, {"meterName", "Standard Ingress Events"}}},
          {"azure.nat.hour", {{"serviceName", "NAT Gateway"}, {"meterName", "Standard Gateway"}}},
          {"azure.nat.data", {{"serviceName", "NAT Gateway"}, {"meterName", "Standard Data Processed"}}},
      });
  return rules;
}

std::string_view TextOf(const json::object& object, std::string_view member) {
  const auto* value = object.if_contains(member);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string()) : std::string_view();
}

const Rule* RuleOf(const std::vector<Rule>& rules, const json::object& attributes) {
  const auto holds = [&](const Match& match) {
    const std::string_view found = TextOf(attributes, match.attribute);
    const std::string_view wanted = match.value;
    if (!wanted.starts_with('*')) return found == wanted;
    // "USE1-Requests-Tier1" but not "USE1-XYZ-Requests-Tier1-Other"; in us-east-1 there is no code before it.
    const std::string_view ending = wanted.substr(1);
    if (!found.ends_with(ending)) return false;
    const std::string_view code = found.substr(0, found.size() - ending.size());
    return code.empty() || (code.ends_with('-') && code.find('-') == code.size() - 1);
  };
  for (const auto& rule : rules) {
    if (std::all_of(rule.matches.begin(), rule.matches.end(), holds)) return &rule;
  }
  return nullptr;
}

// Prices come as texts with more zeros than digits, or as binary fractions of a decimal.
Result<Money> UsdOf(const json::value& value) {
  std::string text;
  if (value.is_string()) {
    text = value.get_string();
  } else if (value.is_number()) {
    text = fmt::format("{:.9f}", value.to_number<double>());
  }
  if (text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.ends_with('.')) text.pop_back();
  }
  return Money::Parse(text);
}

struct Price {
  std::int64_t per = 1;
  std::map<Quantity, Money> from;  // Price of what lies above this quantity.
};

class Collector {
 public:
  Collector(Provider provider, const PriceSheet& known) : provider_(provider) {
    for (const auto& region : known.regions()) {
      if (region.provider == provider) regions_.insert(region.name);
    }
  }

  bool Wants(std::string_view region) const { return regions_.contains(std::string(region)); }
  void Add(std::string_view sku, std::string_view region, std::int64_t per, Quantity from, Money usd) {
    auto& price = prices_[{std::string(sku), std::string(region)}];
    price.per = per;
    price.from[from] = usd;
  }

  Result<PriceUpdate> Finish(const std::string& from, Day as_of, Day today) const {
    if (prices_.empty()) {
      return InvalidInput("{}: no price of a SKU and region that is known here", from);
    }
    PriceUpdate update;
    update.sheet = fmt::format(
        "version: 1\nsheet: {} {}\ncurrency: USD\nsources:\n  file: {{url: {}, as_of: {}, retrieved: {}, kind: "
        "list}}\nprices:\n",
        ToString(provider_), ToText(as_of), Quoted(from), ToText(as_of), ToText(today));
    std::set<std::string_view> seen;
    for (const auto& [key, price] : prices_) {
      const auto& [id, region] = key;
      seen.insert(id);
      update.sheet += fmt::format("  - {{sku: {}, region: {}, unit: {}, per: {}, tiers: [", id, region,
                                  FindSku(id)->unit, price.per);
      for (auto tier = price.from.begin(); tier != price.from.end(); ++tier) {
        const auto next = std::next(tier);
        const std::string up_to = next == price.from.end() ? "" : fmt::format("up_to: {}, ", ToDecimal(next->first));
        update.sheet +=
            fmt::format("{}{{{}usd: \"{}\"}}", tier == price.from.begin() ? "" : ", ", up_to, ToDecimal(tier->second));
      }
      update.sheet += "], source: file}\n";
      ++update.num_prices;
    }
    for (const auto& sku : AllSkus()) {
      if (sku.IsSoldBy(provider_) && !seen.contains(sku.id)) update.not_in_it.emplace_back(sku.id);
    }
    return update;
  }

 private:
  static std::string Quoted(const std::string& text) {
    std::string quoted = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += c;
    }
    return quoted + "\"";
  }

  const Provider provider_;
  std::set<std::string> regions_;
  std::map<std::pair<std::string, std::string>, Price> prices_;
};

// The day of "2026-11-20T17:05:33Z"; today if there is none.
Day DayOf(std::string_view time, Day today) { return ParseDay(std::string(time.substr(0, 10))).ValueOr(today); }

Result<PriceUpdate> ReadAws(const json::object& file, const std::string& from, Day today, const PriceSheet& known) {
  const auto* products = file.if_contains("products");
  const auto* terms = file.if_contains("terms");
  const auto* on_demand =
      terms != nullptr && terms->is_object() ? terms->get_object().if_contains("OnDemand") : nullptr;
  if (products == nullptr || !products->is_object() || on_demand == nullptr || !on_demand->is_object()) {
    return InvalidInput("{}: not an offer file of the AWS Price List: it has no products and terms.OnDemand", from);
  }
  Collector collector(Provider::kAws, known);
  for (const auto& [id, product] : products->get_object()) {
    const auto* attributes = product.is_object() ? product.get_object().if_contains("attributes") : nullptr;
    if (attributes == nullptr || !attributes->is_object()) continue;
    const std::string_view region = TextOf(attributes->get_object(), "regionCode");
    if (!collector.Wants(region)) continue;
    const auto* rule = RuleOf(AwsRules(), attributes->get_object());
    const auto* offers = rule == nullptr ? nullptr : on_demand->get_object().if_contains(id);
    if (offers == nullptr || !offers->is_object()) continue;
    for (const auto& [offer_id, offer] : offers->get_object()) {
      for (const auto& [dimension_id, dimension] : offer.at("priceDimensions").as_object()) {
        const auto* usd = dimension.at("pricePerUnit").as_object().if_contains("USD");
        if (usd == nullptr) continue;
        const auto& begin = dimension.as_object().at("beginRange").as_string();
        ASSIGN_OR_RETURN(const auto money, UsdOf(*usd));
        ASSIGN_OR_RETURN(const auto quantity, Quantity::Parse(std::string_view(begin)));
        collector.Add(rule->sku, region, 1, quantity, money);
      }
    }
  }
  return collector.Finish(from, DayOf(TextOf(file, "publicationDate"), today), today);
}

Result<PriceUpdate> ReadAzure(const json::object& file, const std::string& from, Day today, const PriceSheet& known) {
  const auto* items = file.if_contains("Items");
  if (items == nullptr || !items->is_array()) {
    return InvalidInput("{}: not a page of the Azure Retail Prices API: it has no Items", from);
  }
  Collector collector(Provider::kAzure, known);
  for (const auto& entry : items->get_array()) {
    if (!entry.is_object()) continue;
    const auto& item = entry.get_object();
    // Windows licences, spot machines and reservations have the same SKU name and other prices.
    if (TextOf(item, "type") != "Consumption" || TextOf(item, "currencyCode") != "USD") continue;
    if (TextOf(item, "productName").find("Windows") != std::string_view::npos) continue;
    const std::string_view region = TextOf(item, "armRegionName");
    const auto* rule = collector.Wants(region) ? RuleOf(AzureRules(), item) : nullptr;
    if (rule == nullptr) continue;
    const std::string_view measure = TextOf(item, "unitOfMeasure");
    const std::int64_t per = measure.starts_with("10K") ? 10'000 : measure.starts_with("1M") ? 1'000'000 : 1;
    ASSIGN_OR_RETURN(const auto money, UsdOf(item.at("retailPrice")));
    ASSIGN_OR_RETURN(const auto begin, Quantity::FromDouble(item.at("tierMinimumUnits").to_number<double>()));
    collector.Add(rule->sku, region, per, begin, money);
  }
  return collector.Finish(from, today, today);
}

}  // namespace

Result<PriceUpdate> ReadPriceFile(Provider provider, const std::string& text, const std::string& from, Day today,
                                  const PriceSheet& known) {
  boost::system::error_code error;
  const auto parsed = json::parse(text, error);
  if (error || !parsed.is_object()) {
    return InvalidInput("{}: not a JSON object{}", from, error ? ": " + error.message() : "");
  }
  try {
    if (provider == Provider::kAws) return ReadAws(parsed.get_object(), from, today, known);
    if (provider == Provider::kAzure) return ReadAzure(parsed.get_object(), from, today, known);
  } catch (const std::exception& unexpected) {
    return InvalidInput("{}: not of the form that was expected: {}", from, unexpected.what());
  }
  return Unsupported("{}: the price catalogue wants an API key and is not read yet; lay a sheet over it with --prices",
                     DisplayName(provider));
}

}  // namespace millrace::cost
