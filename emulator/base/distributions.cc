#include "emulator/base/distributions.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "emulator/base/check.h"

namespace farspan {
namespace {

// c[0] + c[1] x + ...
template <size_t N>
constexpr double Polynomial(const double (&c)[N], double x) {
  double value = c[N - 1];
  for (size_t i = N - 1; i-- > 0;) value = value * x + c[i];
  return value;
}

// AS 241's three pairs of polynomials: the centre, the tails, the far tails.
constexpr double kA[] = {3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
                         1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
                         3.3430575583588128105e4, 2.5090809287301226727e3};
constexpr double kB[] = {1.0,
                         4.2313330701600911252e1,
                         6.8718700749205790830e2,
                         5.3941960214247511077e3,
                         2.1213794301586595867e4,
                         3.9307895800092710610e4,
                         2.8729085735721942674e4,
                         5.2264952788528545610e3};
constexpr double kC[] = {1.42343711074968357734e0,  4.63033784615654529590e0,
                         5.76949722146069140550e0,  3.64784832476320460504e0,
                         1.27045825245236838258e0,  2.41780725177450611770e-1,
                         2.27238449892691845833e-2, 7.74545014278341407640e-4};
constexpr double kD[] = {1.0,
                         2.05319162663775882187e0,
                         1.67638483018380384940e0,
                         6.89767334985100004550e-1,
                         1.48103976427480074590e-1,
                         1.51986665636164571966e-2,
                         5.47593808499534494600e-4,
                         1.05075007164441684324e-9};
constexpr double kE[] = {6.65790464350110377720e0,  5.46378491116411436990e0,
                         1.78482653991729133580e0,  2.96560571828504891230e-1,
                         2.65321895265761230930e-2, 1.24266094738807843860e-3,
                         2.71155556874348757815e-5, 2.01033439929228813265e-7};
constexpr double kF[] = {1.0,
                         5.99832206555887937690e-1,
                         1.36929880922735805310e-1,
                         1.48753612908506148525e-2,
                         7.86869131145613259100e-4,
                         1.84631831751005468180e-5,
                         1.42151175831644588870e-7,
                         2.04426310338993978564e-15};

}  // namespace

double NormalCdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

double NormalQuantile(double u) {
  FARSPAN_CHECK(u > 0 && u < 1);
  const double q = u - 0.5;
  if (std::fabs(q) <= 0.425) {
    const double r = 0.180625 - q * q;
    return q * Polynomial(kA, r) / Polynomial(kB, r);
  }
  const double r = std::sqrt(-std::log(q < 0 ? u : 1 - u));
  const double x = r <= 5 ? Polynomial(kC, r - 1.6) / Polynomial(kD, r - 1.6)
                          : Polynomial(kE, r - 5) / Polynomial(kF, r - 5);
  return q < 0 ? -x : x;
}

Geometric::Geometric(double probability) : scale_(1 / std::log1p(-probability)) {
  FARSPAN_CHECK(probability >= 0 && probability <= 1);
}

uint64_t Geometric::operator()(uint64_t word) const {
  const double failures = std::log(ToUnit(word)) * scale_;
  return std::fabs(failures) < static_cast<double>(kNone) ? static_cast<uint64_t>(failures) : kNone;
}

PoissonCount::PoissonCount(double mean) {
  FARSPAN_CHECK(mean >= 0 && mean <= kMaxMean);
  double term = std::exp(-mean);
  double sum = 0;
  for (int n = 0; n < kMax; ++n) {
    sum += term;
    term *= mean / (n + 1);
    below_[n] =
        sum < 1 ? static_cast<uint64_t>(sum * 0x1p64) : std::numeric_limits<uint64_t>::max();
  }
}

}  // namespace farspan
