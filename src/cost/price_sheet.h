/// Prices as dated facts: per SKU and region a unit, tiers, a source. What nobody has sourced is missing.
///
/// A sheet is YAML (share/millrace/prices/README.md describes it); later sheets overlay earlier ones, row by row.
/// Reading checks everything in one pass: unknown SKUs and regions, wrong units, tiers that do not rise, rows without a
/// source. Immutable once read; any thread may look prices up.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "cost/money.h"

namespace millrace::cost {

enum class Provider { kAws, kGcp, kAzure, kOwn };
inline constexpr Provider kProviders[] = {Provider::kAws, Provider::kGcp, Provider::kAzure, Provider::kOwn};
/// "aws", as typed.
std::string_view ToString(Provider provider);
/// "AWS", as read.
std::string_view DisplayName(Provider provider);
/// kInvalidInput with the nearest name.
Result<Provider> ParseProvider(const std::string& name);
/// us-east-1, us-central1, eastus, own: what an estimate is for unless somebody says where.
std::string_view DefaultRegion(Provider provider);

/// Something that can be bought. The list is the code's: a sheet may only price what is in it.
struct Sku {
  std::string_view id;    ///< "aws.s3.standard.put": provider first, or "confluent": sold in every cloud.
  std::string_view unit;  ///< Of a quantity: "h", "GB-month", "request".
  std::string_view name;  ///< For people: "S3 Standard PUT, COPY, POST, LIST".
  bool IsSoldBy(Provider provider) const;
};
const std::vector<Sku>& AllSkus();
const Sku* FindSku(std::string_view id);

/// A day, as days since 1970-01-01.
using Day = int;
/// "2026-11-22"; kInvalidInput if it is not a day.
Result<Day> ParseDay(const std::string& text);
std::string ToText(Day day);

/// Where a price comes from.
struct PriceSource {
  std::string id;  ///< As the sheet calls it.
  std::string url;
  std::string about;
  Day as_of = 0;      ///< The price was in force on this day: what its age is counted from.
  Day retrieved = 0;  ///< Somebody read it on this day.
  std::string kind;   ///< list: as published; derived: computed from published ones; estimate: somebody's judgement.
};

/// Marginal: this price holds for what lies above the tier before and up to `up_to`, inclusive.
struct PriceTier {
  std::optional<Quantity> up_to;  ///< None: without end; always the last.
  Money usd;                      ///< For PriceRow::per units.
};

struct PriceRow {
  std::string sku;
  std::string region;    ///< "*": the provider publishes one price for all its regions.
  std::int64_t per = 1;  ///< The price is for this many units.
  std::vector<PriceTier> tiers;
  std::shared_ptr<const PriceSource> source;
  std::string note;
  bool note_is_own = false;  ///< The note is of this price, not of all prices of its SKU.
  std::string sheet;         ///< Which sheet it is from: "2026-11", a file, "--set-price".
};

/// What one tier of a price makes of a part of a quantity.
struct Charge {
  Quantity quantity;
  Money usd;  ///< For PriceRow::per units.
  Money money;
};
/// Splits `quantity` over the tiers; the quantities and the moneys add up exactly. Tiers that get nothing are left out.
/// Without `free_tier`, what a first tier gives for nothing costs as much as in the next one. kInvalidInput: more than
/// kLineMoneyMax.
Result<std::vector<Charge>> ChargeFor(const PriceRow& row, Quantity quantity, bool free_tier);

struct Region {
  Provider provider = Provider::kAws;
  std::string name;   ///< "eu-central-1"
  std::string place;  ///< "Frankfurt"
  double latitude = 0;
  double longitude = 0;
};

class PriceSheet {
 public:
  /// What this program was built with: the files of share/millrace/prices/2026-11, one for each provider.
  static Result<PriceSheet> Shipped();
  /// A sheet that stands on its own; for tests and `prices verify`.
  static Result<PriceSheet> Read(const std::string& text, const std::string& file);

  /// Rows of `text` replace rows of the same SKU and region. All findings in one kInvalidInput, a line each.
  Status Overlay(const std::string& text, const std::string& file);
  /// "aws.s3.standard.storage@us-east-1=0.021": one price without tiers, per what the row before was per.
  Status Set(const std::string& assignment, Day today);

  /// The price in this region, or the provider's one price for all regions; nullptr: missing.
  const PriceRow* Find(std::string_view sku, std::string_view region) const;
  const std::vector<PriceRow>& rows() const { return rows_; }
  const std::vector<Region>& regions() const { return regions_; }
  /// Those that have a name, whether or not a price is of them.
  const std::vector<std::shared_ptr<const PriceSource>>& sources() const { return sources_; }
  /// kInvalidInput with the nearest name.
  Result<Region> FindRegion(Provider provider, const std::string& name) const;

  /// "2026-11", and what was laid over it.
  const std::string& name() const { return name_; }
  /// Over the texts of the sheet and its overlays, hex.
  const std::string& sha256() const { return sha256_; }
  /// "sku@region" of rows that an overlay has replaced or added.
  const std::vector<std::string>& overridden() const { return overridden_; }

 private:
  /// One more file: of the same sheet, or over what is there.
  Status Lay(const std::string& text, const std::string& file, bool is_overlay);
  void Put(PriceRow row, bool is_overlay);
  void AddToDigest(const std::string& text);

  std::string name_;
  std::string sha256_;
  std::vector<PriceRow> rows_;
  std::map<std::string, std::size_t, std::less<>> index_;  // "sku@region" -> rows_
  std::vector<Region> regions_;
  std::vector<std::shared_ptr<const PriceSource>> sources_;
  std::vector<std::string> overridden_;
};

/// A price counts as old after so many days.
inline constexpr int kPriceAgeDaysMax = 180;

}  // namespace millrace::cost
