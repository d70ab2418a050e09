#include "team.h"

namespace charlm {

void help(Team& team, int share) noexcept {
  std::int64_t seen = 0;
  Patience patience;
  for (;;) {
    const std::int64_t phase = read_now(team.phase);
    if (phase < 0) return;
    if (phase == seen) {
      patience.wait();
      continue;
    }
    seen = phase;
    take_share(team, share, phase);
    patience = {};
  }
}

}  // namespace charlm
