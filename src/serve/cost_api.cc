#include "serve/cost_api.h"

#include <algorithm>
#include <boost/json.hpp>
#include <utility>
#include <vector>

#include "base/nearest_name.h"
#include "cost/report.h"
#include "cost/usage.h"

namespace millrace::serve {
namespace {

namespace json = boost::json;

// A load is a page of text; a larger body is a mistake or an attack on the reader.
constexpr std::size_t kBodyBytesMax = 64 << 10;

Result<std::string> TextOf(const json::value& value, const std::string& name) {
  if (!value.is_string()) return InvalidInput("{}: a text is expected", name);
  return std::string(value.get_string());
}

struct Place {
  cost::Provider provider;
  std::string region;
};

Result<std::vector<Place>> PlacesOf(const json::object& request) {
  std::vector<Place> places;
  if (const auto* providers = request.if_contains("providers")) {
    if (!providers->is_array() || providers->get_array().empty()) {
      return InvalidInput("providers: a list of names is expected");
    }
    for (const auto& entry : providers->get_array()) {
      ASSIGN_OR_RETURN(const auto name, TextOf(entry, "providers"));
      const auto parsed = cost::ParseProvider(name);
      if (!parsed.ok()) return WithContext(parsed.status(), "providers");
      const cost::Provider provider = *parsed;
      const bool again =
          std::any_of(places.begin(), places.end(), [&](const Place& place) { return place.provider == provider; });
      if (again) return InvalidInput("providers: {} is here twice", name);
      places.push_back({provider, std::string(cost::DefaultRegion(provider))});
    }
  } else {
    for (const auto provider : cost::kProviders) {
      if (provider == cost::Provider::kOwn) continue;
      places.push_back({provider, std::string(cost::DefaultRegion(provider))});
    }
  }
  if (const auto* regions = request.if_contains("regions")) {
    if (!regions->is_object()) return InvalidInput("regions: provider names and their regions are expected");
    for (const auto& [name, value] : regions->get_object()) {
      const auto provider = cost::ParseProvider(std::string(name));
      if (!provider.ok()) return WithContext(provider.status(), "regions");
      ASSIGN_OR_RETURN(const auto region, TextOf(value, "regions"));
      for (auto& place : places) {
        if (place.provider == *provider) place.region = region;
      }
    }
  }
  return places;
}

Result<json::object> ParseRequest(const std::string& body) {
  if (body.size() > kBodyBytesMax) return InvalidInput("the body has more than {} bytes", kBodyBytesMax);
  if (body.empty()) return json::object();
  boost::system::error_code error;
  auto parsed = json::parse(body, error);
  if (error) return InvalidInput("the body is not JSON: {}", error.message());
  if (!parsed.is_object()) return InvalidInput("the body must be a JSON object");
  static const std::vector<std::string> kMembers = {"usage", "preset", "providers", "regions", "curves", "rank"};
  for (const auto& [key, value] : parsed.get_object()) {
    const std::string name(key);
    if (std::find(kMembers.begin(), kMembers.end(), name) == kMembers.end()) {
      return InvalidInput("unknown member '{}'{}", name, DidYouMean(name, kMembers));
    }
  }
  return std::move(parsed.get_object());
}

Result<bool> FlagOf(const json::object& request, std::string_view member) {
  const auto* value = request.if_contains(member);
  if (value == nullptr) return false;
  if (!value->is_bool()) return InvalidInput("{}: true or false is expected", member);
  return value->get_bool();
}

}  // namespace

Result<std::string> EstimateCost(const std::string& body, cost::Day today) {
  ASSIGN_OR_RETURN(const auto request, ParseRequest(body));
  cost::Usage usage;
  if (const auto* preset = request.if_contains("preset")) {
    ASSIGN_OR_RETURN(const auto name, TextOf(*preset, "preset"));
    ASSIGN_OR_RETURN(usage, cost::UsagePreset(name));
  }
  if (const auto* document = request.if_contains("usage")) {
    if (!document->is_object()) return InvalidInput("usage: a JSON object is expected");
    RETURN_NOT_OK(cost::ReadUsage(json::serialize(*document), "usage", "given", usage));
  }
  ASSIGN_OR_RETURN(const auto places, PlacesOf(request));
  ASSIGN_OR_RETURN(const auto prices, cost::PriceSheet::Shipped());
  ASSIGN_OR_RETURN(const bool wants_curves, FlagOf(request, "curves"));
  ASSIGN_OR_RETURN(const bool wants_ranking, FlagOf(request, "rank"));
  cost::Report report;
  for (const auto& place : places) {
    RETURN_NOT_OK(WithContext(prices.FindRegion(place.provider, place.region).status(), "regions"));
    ASSIGN_OR_RETURN(auto estimate, cost::MakeEstimate(usage, place.provider, place.region, prices, today));
    if (wants_curves) {
      ASSIGN_OR_RETURN(auto curve, cost::CurveFor(estimate, prices));
      report.curves.push_back(std::move(curve));
    }
    report.estimates.push_back(std::move(estimate));
  }
  ASSIGN_OR_RETURN(report.advice, cost::AdviceFor(report.estimates[0], prices, std::nullopt));
  if (wants_ranking) {
    std::vector<cost::Provider> providers;
    for (const auto& place : places) providers.push_back(place.provider);
    ASSIGN_OR_RETURN(report.ranking, cost::RankRegions(usage, providers, prices, today, std::nullopt));
  }
  return cost::ToJson(report);
}

}  // namespace millrace::serve
