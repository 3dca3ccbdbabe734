#include "aggregate/functions/doubles.h"
#include "aggregate/scalar_accumulator.h"

namespace millrace::aggregate {
namespace {

class ProductAccumulator : public ScalarAccumulator<double> {
 public:
  ProductAccumulator() : ScalarAccumulator(1) {}
  void Update(Columns arguments, const GroupedRows& rows) override {
    double* const products = values_.data();
    std::uint8_t* const has = has_.data();
    ForDoubles(*arguments.front(), rows, [=](std::uint32_t g, double value) {
      products[g] *= value;
      has[g] = 1;
    });
  }
};

Result<std::vector<CallState>> ProductStates(const Call& call) {
  const auto cast = CastToDoubles(call);
  if (!cast) return NotForItsTypes(call);
  return std::vector<CallState>{{.function = "product", .columns = {{"product", arrow::float64()}}, .cast = *cast}};
}

std::unique_ptr<Accumulator> MakeProduct(std::span<const std::shared_ptr<arrow::DataType>> /*types*/) {
  return std::make_unique<ProductAccumulator>();
}

}  // namespace

Function Product() {
  return {.name = "product", .states = ProductStates, .final_sql = OnlyState, .make_accumulator = MakeProduct};
}

}  // namespace millrace::aggregate
