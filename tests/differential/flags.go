// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math/rand"
)

// startFlags are the flags that the servers of a program have: every other program runs with the
// defaults, the others near their limits.
func startFlags(seed int64) []string {
	rng := rand.New(rand.NewSource(seed ^ 0x666c616773))
	if rng.Intn(2) == 0 {
		return nil
	}
	var flags []string
	add := func(format string, args ...any) { flags = append(flags, fmt.Sprintf(format, args...)) }
	if rng.Intn(2) == 0 {
		add("--max-txn-ops=%d", 1+rng.Intn(6))
	}
	if rng.Intn(2) == 0 {
		add("--max-request-bytes=%d", []int{300, 1000, 5000, 40000, 3 << 20}[rng.Intn(5)])
	}
	if rng.Intn(3) == 0 {
		add("--watch-progress-notify-interval=%dms", 100+rng.Intn(400))
	}
	if rng.Intn(6) == 0 {
		add("--max-concurrent-streams=%d", 20+rng.Intn(100))
	}
	return flags
}
