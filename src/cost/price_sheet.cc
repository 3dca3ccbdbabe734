#include "cost/price_sheet.h"

#include <openssl/evp.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <set>
#include <utility>

#include "base/nearest_name.h"
#include "cost/yaml_internal.h"

namespace millrace::cost {

namespace embedded {
extern const std::string_view kAwsPrices;
extern const std::string_view kGcpPrices;
extern const std::string_view kAzurePrices;
extern const std::string_view kOtherPrices;
}  // namespace embedded

namespace {

const std::vector<std::string> kDocumentKeys = {"version", "sheet", "currency", "regions", "sources", "prices"};
const std::vector<std::string> kEntryKeys = {"sku",   "unit", "per",   "region", "regions",
                                             "up_to", "usd",  "tiers", "source", "note"};
const std::vector<std::string> kGroupKeys = {"in", "up_to", "usd", "tiers", "source", "note"};
const std::vector<std::string> kSourceKeys = {"url", "about", "as_of", "retrieved", "kind"};
const std::vector<std::string> kTierKeys = {"up_to", "usd"};
const std::vector<std::string> kRegionKeys = {"provider", "region", "place", "lat", "lon"};
const std::vector<std::string> kKinds = {"list", "derived", "estimate"};

std::string RowKey(std::string_view sku, std::string_view region) { return fmt::format("{}@{}", sku, region); }

std::vector<std::string> SkuNames() {
  std::vector<std::string> names;
  for (const auto& sku : AllSkus()) names.emplace_back(sku.id);
  return names;
}

struct SheetContent {
  std::string name;
  std::vector<Region> regions;
  std::vector<std::shared_ptr<const PriceSource>> sources;
  std::vector<PriceRow> rows;
};

/// Reads one document; `known_regions` are those of the sheets below it.
class SheetReader {
 public:
  SheetReader(YamlFindings& findings, std::vector<Region> known_regions)
      : findings_(findings), known_regions_(std::move(known_regions)) {}

  SheetContent Read(const YAML::Node& document) {
    SheetContent content;
    CheckKeys(document, kDocumentKeys, "");
    if (TextOf(document, "version", "the sheet") != "1") findings_.Add(document.Mark(), "version: 1 is expected");
    if (TextOf(document, "currency", "the sheet") != "USD") findings_.Add(document.Mark(), "currency: USD is expected");
    content.name = TextOf(document, "sheet", "the sheet");
    for (const auto& entry : ListOf(document, "regions", false)) ReadRegion(entry, content);
    if (const auto sources = document["sources"]; sources && sources.IsMap()) {
      for (const auto& entry : sources) {
        content.sources.push_back(ReadSource(entry.second, entry.first.Scalar()));
        sources_[entry.first.Scalar()] = content.sources.back();
      }
    }
    for (const auto& entry : ListOf(document, "prices", true)) ReadEntry(entry, content);
    return content;
  }

 private:
  void CheckKeys(const YAML::Node& map, const std::vector<std::string>& known, const std::string& where) {
    for (const auto& entry : map) {
      const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "";
      if (std::find(known.begin(), known.end(), key) != known.end()) continue;
      findings_.Add(entry.first.Mark(), fmt::format("{}unknown key '{}'{}", where, key, DidYouMean(key, known)));
    }
  }

  std::string TextOf(const YAML::Node& map, const char* key, const std::string& where) {
    const auto value = map[key];
    if (value && value.IsScalar() && !value.Scalar().empty()) return value.Scalar();
    findings_.Add(value ? value.Mark() : map.Mark(), fmt::format("{}: {} is missing", where, key));
    return "";
  }

  std::vector<YAML::Node> ListOf(const YAML::Node& map, const char* key, bool required) {
    const auto list = map[key];
    if (!list && !required) return {};
    if (!list || !list.IsSequence()) {
      findings_.Add(map.Mark(), fmt::format("{}: a list is expected", key));
      return {};
    }
    std::vector<YAML::Node> maps;
    for (const auto& item : list) {
      if (item.IsMap()) {
        maps.push_back(item);
      } else {
        findings_.Add(item.Mark(), fmt::format("{}: each entry is a mapping", key));
      }
    }
    return maps;
  }

  template <typename T>
  T ValueOr(const Result<T>& result, const YAML::Node& at, const std::string& where, T fallback) {
    if (result.ok()) return *result;
    findings_.Add(at.Mark(), fmt::format("{}: {}", where, result.status().message()));
    return fallback;
  }

  void ReadRegion(const YAML::Node& node, SheetContent& content) {
    CheckKeys(node, kRegionKeys, "regions: ");
    Region region;
    region.name = TextOf(node, "region", "regions");
    region.provider = ValueOr(ParseProvider(TextOf(node, "provider", region.name)), node, region.name, Provider::kAws);
    region.place = TextOf(node, "place", region.name);
    region.latitude = std::strtod(TextOf(node, "lat", region.name).c_str(), nullptr);
    region.longitude = std::strtod(TextOf(node, "lon", region.name).c_str(), nullptr);
    known_regions_.push_back(region);
    content.regions.push_back(std::move(region));
  }

  std::shared_ptr<const PriceSource> ReadSource(const YAML::Node& node, const std::string& id) {
    auto source = std::make_shared<PriceSource>();
    const std::string where = "source " + id;
    source->id = id;
    if (!node.IsMap()) {
      findings_.Add(node.Mark(), where + ": a mapping is expected");
      return source;
    }
    CheckKeys(node, kSourceKeys, where + ": ");
    source->url = TextOf(node, "url", where);
    if (const auto about = node["about"]; about && about.IsScalar()) source->about = about.Scalar();
    source->retrieved = ValueOr(ParseDay(TextOf(node, "retrieved", where)), node, where + ".retrieved", 0);
    source->as_of = source->retrieved;
    if (const auto as_of = node["as_of"]; as_of && as_of.IsScalar()) {
      source->as_of = ValueOr(ParseDay(as_of.Scalar()), as_of, where + ".as_of", 0);
    }
    if (source->as_of > source->retrieved) {
      findings_.Add(node.Mark(), fmt::format("{}: as_of is after retrieved: nobody reads tomorrow's prices", where));
    }
    source->kind = TextOf(node, "kind", where);
    if (std::find(kKinds.begin(), kKinds.end(), source->kind) == kKinds.end()) {
      findings_.Add(node.Mark(), fmt::format("{}: kind '{}' is not one of {}{}", where, source->kind,
                                             fmt::join(kKinds, ", "), DidYouMean(source->kind, kKinds)));
    }
    return source;
  }

  // One price, or the prices of a SKU by groups of regions, which share what the entry says.
  void ReadEntry(const YAML::Node& node, SheetContent& content) {
    CheckKeys(node, kEntryKeys, "prices: ");
    PriceRow row;
    row.sku = TextOf(node, "sku", "prices");
    const auto* sku = FindSku(row.sku);
    if (sku == nullptr) {
      findings_.Add(node["sku"] ? node["sku"].Mark() : node.Mark(),
                    fmt::format("no SKU '{}'{}", row.sku, DidYouMean(row.sku, SkuNames())));
      return;
    }
    if (const auto unit = TextOf(node, "unit", row.sku); unit != sku->unit) {
      findings_.Add(node.Mark(),
                    fmt::format("{}: unit '{}', but this SKU is counted in '{}'", row.sku, unit, sku->unit));
    }
    ReadPer(node, row);
    if (!node["regions"]) {
      const std::string region = TextOf(node, "region", row.sku);
      ReadPrice(node, {}, RowKey(row.sku, region), row);
      Put(*sku, node["region"] ? node["region"] : node, region, row, content);
      return;
    }
    for (const char* key : {"region", "usd", "tiers"}) {
      if (node[key]) {
        findings_.Add(node[key].Mark(), fmt::format("{}: {} is said by each group of regions", row.sku, key));
      }
    }
    if (const auto note = node["note"]; note && note.IsScalar()) row.note = note.Scalar();
    if (const auto source = node["source"]) row.source = SourceOf(source, row.sku);
    const auto limits = ReadLimits(node, row.sku);
    for (const auto& group : ListOf(node, "regions", true)) {
      CheckKeys(group, kGroupKeys, row.sku + ": ");
      const auto in = group["in"];
      if (!in || !in.IsSequence() || in.size() == 0) {
        findings_.Add(group.Mark(), fmt::format("{}: in: a list of regions is expected", row.sku));
        continue;
      }
      PriceRow of_group = row;
      ReadPrice(group, limits, row.sku, of_group);
      for (const auto& region : in) Put(*sku, region, region.IsScalar() ? region.Scalar() : "", of_group, content);
    }
  }

  void ReadPer(const YAML::Node& node, PriceRow& row) {
    const auto per = node["per"];
    if (!per) return;
    const auto text = per.IsScalar() ? per.Scalar() : "";
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), row.per);
    if (error != std::errc() || end != text.data() + text.size() || row.per < 1 || row.per > 1'000'000'000) {
      findings_.Add(per.Mark(), fmt::format("{}: per: '{}' is not a whole number of units", row.sku, text));
      row.per = 1;
    }
  }

  // What an entry or a group says of its own: the price, and the source and note if they are others than the entry's.
  void ReadPrice(const YAML::Node& node, const std::vector<Quantity>& limits, const std::string& where, PriceRow& row) {
    ReadTiers(node, node["up_to"] ? ReadLimits(node, where) : limits, where, row);
    if (const auto source = node["source"]) row.source = SourceOf(source, where);
    if (row.source == nullptr) {
      findings_.Add(node.Mark(), fmt::format("{}: a price needs a source", where));
      row.source = std::make_shared<PriceSource>();
    }
    if (const auto note = node["note"]; note && note.IsScalar()) {
      row.note = note.Scalar();
      row.note_is_own = true;
    }
  }

  void Put(const Sku& sku, const YAML::Node& at, const std::string& region, PriceRow row, SheetContent& content) {
    CheckRegion(sku, region, at);
    row.region = region;
    const std::string key = RowKey(row.sku, region);
    if (!seen_.insert(key).second) findings_.Add(at.Mark(), fmt::format("{} is here twice", key));
    content.rows.push_back(std::move(row));
  }

  void CheckRegion(const Sku& sku, const std::string& name, const YAML::Node& at) {
    if (name == "*") return;
    std::vector<std::string> names;
    for (const auto& region : known_regions_) {
      if (!sku.IsSoldBy(region.provider)) continue;
      if (region.name == name) return;
      names.push_back(region.name);
    }
    findings_.Add(at.Mark(),
                  fmt::format("{}: no region '{}' where it is sold{}", sku.id, name, DidYouMean(name, names)));
  }

  Money ReadUsd(const YAML::Node& node, const std::string& where) {
    const Money usd =
        ValueOr(Money::Parse(node && node.IsScalar() ? node.Scalar() : ""), node, where + ": usd", Money());
    if (usd < Money()) findings_.Add(node.Mark(), fmt::format("{}: a price is not negative", where));
    return usd;
  }

  // Where tiers end, rising; the last one has no end.
  std::vector<Quantity> ReadLimits(const YAML::Node& node, const std::string& where) {
    std::vector<Quantity> limits;
    const auto list = node["up_to"];
    if (!list) return limits;
    if (!list.IsSequence() || list.size() == 0) {
      findings_.Add(list.Mark(), fmt::format("{}: up_to: a list of quantities is expected", where));
      return limits;
    }
    for (const auto& limit : list) limits.push_back(ReadLimit(limit, where, limits.empty() ? nullptr : &limits.back()));
    return limits;
  }
  Quantity ReadLimit(const YAML::Node& node, const std::string& where, const Quantity* before) {
    const auto limit =
        ValueOr(Quantity::Parse(node.IsScalar() ? node.Scalar() : ""), node, where + ": up_to", Quantity());
    if (before != nullptr && limit <= *before) findings_.Add(node.Mark(), fmt::format("{}: tiers must rise", where));
    return limit;
  }

  void ReadTiers(const YAML::Node& node, const std::vector<Quantity>& limits, const std::string& where, PriceRow& row) {
    const auto usd = node["usd"];
    const auto tiers = node["tiers"];
    if (usd.IsDefined() == tiers.IsDefined()) {
      findings_.Add(node.Mark(), fmt::format("{}: either usd or tiers is expected", where));
    } else if (tiers) {
      ReadTierList(tiers, where, row);
    } else if (!usd.IsSequence()) {
      row.tiers.push_back({std::nullopt, ReadUsd(usd, where)});
    } else if (usd.size() != limits.size() + 1) {
      findings_.Add(usd.Mark(),
                    fmt::format("{}: {} prices, but up_to makes {} tiers", where, usd.size(), limits.size() + 1));
    } else {
      for (std::size_t i = 0; i < usd.size(); ++i) {
        row.tiers.push_back({i < limits.size() ? std::optional(limits[i]) : std::nullopt, ReadUsd(usd[i], where)});
      }
    }
    if (row.tiers.empty()) row.tiers.push_back({});
  }

  void ReadTierList(const YAML::Node& tiers, const std::string& where, PriceRow& row) {
    if (!tiers.IsSequence() || tiers.size() == 0) {
      findings_.Add(tiers.Mark(), fmt::format("{}: tiers: a list is expected", where));
      return;
    }
    for (std::size_t i = 0; i < tiers.size(); ++i) {
      const auto tier = tiers[i];
      if (!tier.IsMap()) {
        findings_.Add(tier.Mark(), fmt::format("{}: a tier is a mapping", where));
        continue;
      }
      CheckKeys(tier, kTierKeys, where + ": ");
      PriceTier read;
      const bool has_before = !row.tiers.empty() && row.tiers.back().up_to;
      if (const auto up_to = tier["up_to"]) {
        read.up_to = ReadLimit(up_to, where, has_before ? &*row.tiers.back().up_to : nullptr);
      }
      if (read.up_to.has_value() == (i + 1 == tiers.size())) {
        findings_.Add(tier.Mark(), fmt::format("{}: every tier but the last has up_to", where));
      }
      read.usd = tier["usd"] ? ReadUsd(tier["usd"], where) : Money();
      if (!tier["usd"]) findings_.Add(tier.Mark(), fmt::format("{}: a tier has no usd", where));
      row.tiers.push_back(read);
    }
  }

  std::shared_ptr<const PriceSource> SourceOf(const YAML::Node& source, const std::string& where) {
    if (source.IsMap()) return ReadSource(source, where);
    const std::string id = source.IsScalar() ? source.Scalar() : "";
    if (const auto found = sources_.find(id); found != sources_.end()) return found->second;
    std::vector<std::string> names;
    for (const auto& [name, known] : sources_) names.push_back(name);
    findings_.Add(source.Mark(), fmt::format("{}: no source '{}'{}", where, id, DidYouMean(id, names)));
    return std::make_shared<PriceSource>();
  }

  YamlFindings& findings_;
  std::vector<Region> known_regions_;
  std::map<std::string, std::shared_ptr<const PriceSource>> sources_;
  std::set<std::string> seen_;
};

}  // namespace

Result<Day> ParseDay(const std::string& text) {
  int year = 0;
  unsigned month = 0;
  unsigned day = 0;
  const auto number = [&](std::size_t at, std::size_t length, auto& out) {
    const char* const begin = text.data() + at;
    return std::from_chars(begin, begin + length, out).ptr == begin + length;
  };
  if (text.size() == 10 && text[4] == '-' && text[7] == '-' && number(0, 4, year) && number(5, 2, month) &&
      number(8, 2, day)) {
    const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month), std::chrono::day(day)};
    if (date.ok()) return static_cast<Day>(std::chrono::sys_days(date).time_since_epoch().count());
  }
  return InvalidInput("'{}' is not a day such as 2026-11-22", text);
}

std::string ToText(Day day) {
  const std::chrono::year_month_day date{std::chrono::sys_days(std::chrono::days(day))};
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                     static_cast<unsigned>(date.day()));
}

Result<std::vector<Charge>> ChargeFor(const PriceRow& row, Quantity quantity, bool free_tier) {
  std::vector<Charge> charges;
  Quantity below;
  for (std::size_t i = 0; i < row.tiers.size() && below < quantity; ++i) {
    const auto& tier = row.tiers[i];
    const Quantity top = tier.up_to ? std::min(*tier.up_to, quantity) : quantity;
    const bool given_away = i == 0 && tier.usd == Money() && row.tiers.size() > 1;
    const Money usd = given_away && !free_tier ? row.tiers[1].usd : tier.usd;
    const auto money = Multiply(top - below, usd, row.per);
    if (!money) {
      return InvalidInput("{} costs more than {} USD a month: no estimate is made of such a load",
                          RowKey(row.sku, row.region), ToCents(kLineMoneyMax));
    }
    if (top > below) charges.push_back({top - below, usd, *money});
    below = top;
  }
  return charges;
}

Result<PriceSheet> PriceSheet::Shipped() {
  // Read once: parsing takes tens of milliseconds, too long for each request of a page.
  static const Result<PriceSheet> shipped = []() -> Result<PriceSheet> {
    PriceSheet sheet;
    const std::pair<const char*, std::string_view> files[] = {{"aws.yaml", embedded::kAwsPrices},
                                                              {"gcp.yaml", embedded::kGcpPrices},
                                                              {"azure.yaml", embedded::kAzurePrices},
                                                              {"others.yaml", embedded::kOtherPrices}};
    for (const auto& [file, text] : files) {
      RETURN_NOT_OK(sheet.Lay(std::string(text), fmt::format("the shipped {}", file), false));
    }
    return sheet;
  }();
  return shipped;
}

Result<PriceSheet> PriceSheet::Read(const std::string& text, const std::string& file) {
  PriceSheet sheet;
  RETURN_NOT_OK(sheet.Lay(text, file, false));
  return sheet;
}

Status PriceSheet::Overlay(const std::string& text, const std::string& file) { return Lay(text, file, !name_.empty()); }

Status PriceSheet::Lay(const std::string& text, const std::string& file, bool is_overlay) {
  YamlFindings findings(file);
  SheetContent content;
  if (const auto document = ParseYamlMapping(text, findings)) {
    content = SheetReader(findings, regions_).Read(*document);
  }
  RETURN_NOT_OK(findings.ToStatus());
  if (is_overlay) {
    name_ = fmt::format("{} + {}", name_, content.name);
  } else if (name_.empty()) {
    name_ = content.name;
  } else if (name_ != content.name) {
    return InvalidInput("{}: sheet: {}, but the files before it are of sheet {}", file, content.name, name_);
  }
  regions_.insert(regions_.end(), content.regions.begin(), content.regions.end());
  sources_.insert(sources_.end(), content.sources.begin(), content.sources.end());
  for (auto& row : content.rows) {
    row.sheet = content.name;
    Put(std::move(row), is_overlay);
  }
  AddToDigest(text);
  return Status::OK();
}

Status PriceSheet::Set(const std::string& assignment, Day today) {
  const auto equals = assignment.find('=');
  const auto at = assignment.find('@');
  if (equals == std::string::npos || at == std::string::npos || at > equals) {
    return InvalidInput("--set-price {}: SKU@REGION=USD is expected", assignment);
  }
  PriceRow row;
  row.sku = assignment.substr(0, at);
  row.region = assignment.substr(at + 1, equals - at - 1);
  const auto* sku = FindSku(row.sku);
  if (sku == nullptr) {
    return InvalidInput("--set-price {}: no SKU '{}'{}", assignment, row.sku, DidYouMean(row.sku, SkuNames()));
  }
  std::vector<std::string> regions = {"*"};
  for (const auto& region : regions_) {
    if (sku->IsSoldBy(region.provider)) regions.push_back(region.name);
  }
  if (std::find(regions.begin(), regions.end(), row.region) == regions.end()) {
    return InvalidInput("--set-price {}: no region '{}' where it is sold{}", assignment, row.region,
                        DidYouMean(row.region, regions));
  }
  const auto usd = Money::Parse(assignment.substr(equals + 1));
  if (!usd.ok()) return WithContext(usd.status(), "--set-price {}", assignment);
  if (*usd < Money()) return InvalidInput("--set-price {}: a price is not negative", assignment);
  // A price per thousand requests stays one per thousand, whoever sets it and wherever.
  for (const auto& other : rows_) {
    if (other.sku == row.sku) row.per = other.per;
  }
  if (const auto* before = Find(row.sku, row.region)) row.per = before->per;
  row.tiers.push_back({std::nullopt, *usd});
  row.source = std::make_shared<PriceSource>(
      PriceSource{.id = "--set-price", .url = "", .about = "", .as_of = today, .retrieved = today, .kind = "estimate"});
  row.sheet = "--set-price";
  Put(std::move(row), true);
  AddToDigest(assignment);
  return Status::OK();
}

const PriceRow* PriceSheet::Find(std::string_view sku, std::string_view region) const {
  for (const auto& key : {RowKey(sku, region), RowKey(sku, "*")}) {
    if (const auto found = index_.find(key); found != index_.end()) return &rows_[found->second];
  }
  return nullptr;
}

Result<Region> PriceSheet::FindRegion(Provider provider, const std::string& name) const {
  std::vector<std::string> names;
  for (const auto& region : regions_) {
    if (region.provider != provider) continue;
    if (region.name == name) return region;
    names.push_back(region.name);
  }
  return InvalidInput("no region '{}' of {}{}; there are: {}", name, ToString(provider), DidYouMean(name, names),
                      fmt::join(names, ", "));
}

void PriceSheet::Put(PriceRow row, bool is_overlay) {
  const std::string key = RowKey(row.sku, row.region);
  if (is_overlay) overridden_.push_back(key);
  const auto [entry, is_new] = index_.emplace(key, rows_.size());
  if (is_new) {
    rows_.push_back(std::move(row));
  } else {
    rows_[entry->second] = std::move(row);
  }
}

void PriceSheet::AddToDigest(const std::string& text) {
  const std::string whole = sha256_ + text;
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  MILLRACE_CHECK(EVP_Digest(whole.data(), whole.size(), digest, &length, EVP_sha256(), nullptr) == 1);
  sha256_.clear();
  for (unsigned i = 0; i < length; ++i) sha256_ += fmt::format("{:02x}", digest[i]);
}

}  // namespace millrace::cost
