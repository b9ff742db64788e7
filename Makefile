# SPDX-License-Identifier: Apache-2.0
# kedge: the storage of Kubernetes at the edge.  `make help` lists what there is.
#
# Variants: SAN=address,undefined or SAN=thread builds everything under build/<variant>/; FUZZ=1 the
# fuzz targets under build/fuzz/ with clang, FUZZ=cov the same under build/cov/ with coverage.

SHELL := /bin/bash
.DEFAULT_GOAL := all
comma := ,
ifdef FUZZ
CC := clang
SAN := fuzzer-no-link,address,undefined
COVERAGE := $(if $(filter cov,$(FUZZ)),-fprofile-instr-generate -fcoverage-mapping)
endif
VARIANT := $(if $(FUZZ),$(if $(COVERAGE),cov,fuzz),$(if $(SAN),$(subst $(comma),-,$(SAN)),release))
OUT := build/$(VARIANT)
GEN := build/gen

CC ?= gcc
PKGS := libuv libnghttp2 libssl libcrypto libprotobuf-c sqlite3 zlib libzstd yaml-0.1
# The first make on a fresh machine has no pkg-config yet; `make deps` installs it and starts anew.
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDLIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lhttp_parser -lpthread -lm

JOBS := $(shell nproc)
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
CPPFLAGS := -D_GNU_SOURCE -I. -I$(GEN) $(PKG_CFLAGS)
WARNINGS := -Wall -Wextra -Werror -Wshadow -Wswitch-enum -Wstrict-prototypes -Wmissing-prototypes \
	-Wvla -Wformat=2 -Wundef -Wpointer-arith -Wwrite-strings
HARDENING := -fstack-protector-strong -fstack-clash-protection -fPIE \
	$(if $(SAN),,-D_FORTIFY_SOURCE=2) $(if $(filter x86_64,$(shell uname -m)),-fcf-protection)
CFLAGS := -std=c17 -O2 -g $(WARNINGS) $(HARDENING) \
	$(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all) $(COVERAGE)
LDFLAGS := -pie -Wl$(comma)-z$(comma)relro$(comma)-z$(comma)now -Wl$(comma)--as-needed \
	$(if $(SAN),-fsanitize=$(SAN))

PROTO := $(wildcard api/proto/*.proto)
GEN_C := $(PROTO:%.proto=$(GEN)/%.pb-c.c)
SRC := $(filter-out shim/main.c,$(wildcard shim/*.c shim/*/*.c api/*.c sync/*.c sync/*/*.c))
OBJ := $(SRC:%.c=$(OUT)/%.o) $(GEN_C:$(GEN)/%.c=$(OUT)/%.o)
HARNESS := $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/harness/*.c))
UNIT := $(patsubst %.c,$(OUT)/%,$(wildcard tests/unit/test_*.c tests/unit/*/test_*.c))
INTEROP := $(OUT)/tests/interop_server
BENCH := $(OUT)/tests/bench/load $(OUT)/tests/bench/machine $(OUT)/tests/bench/sync
ALL_C := $(wildcard shim/*.c shim/*/*.c api/*.c sync/*.c sync/*/*.c tests/unit/*/*.c tests/harness/*.c tests/interop/*.c tests/clock/*.c tests/bench/*.c)
ALL_H := $(wildcard shim/*.h shim/*/*.h api/*.h sync/*.h sync/*/*.h tests/harness/*.h tests/bench/*.h)
# Each has a main(); what they share is in the other files.
DISK_MAIN := power flips faults
DISK := $(DISK_MAIN:%=$(OUT)/tests/disk/%)
DISK_C := $(wildcard tests/disk/*.c)
DISK_OBJ := $(patsubst %.c,$(OUT)/%.o,$(filter-out $(DISK_MAIN:%=tests/disk/%.c),$(DISK_C)))
ALL_C += $(DISK_C)
ALL_H += $(wildcard tests/disk/*.h)
# The simulated disk: programs that link it have its VFS and its calls of libc.
SIM_DISK := $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/sim/disk*.c))
ALL_C += $(wildcard tests/sim/*.c)
ALL_H += $(wildcard tests/sim/*.h)
# The simulator has the engine with the mistakes of sync/engine/mistakes.h, each behind a switch.
SIM := $(OUT)/tests/sim/sim
SIM_ENGINE := $(patsubst %.c,$(OUT)/mistakes/%.o,$(wildcard sync/engine/*.c))
SIM_OBJ := $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/sim/*.c))
FUZZERS := $(patsubst %.c,$(OUT)/%,$(wildcard tests/fuzz/fuzz_*.c))
ALL_C += $(wildcard tests/fuzz/*.c)
ALL_H += $(wildcard tests/fuzz/*.h)

.PHONY: all help deps run test test-long unit bench test-kube check lint tidy format clean install compile-db
.DELETE_ON_ERROR:

all: $(OUT)/kedge $(if $(SAN),,build/kedge)

help:
	@echo "make            build build/kedge"
	@echo "make run        set up, build, serve on 127.0.0.1:2379"
	@echo "make test       set up, build, run every test that fits in 20 minutes"
	@echo "make test-long  the same tests for hours; tests/long.sh names the knobs"
	@echo "make test-kube  a real Kubernetes control plane on kedge (KUBE=v1.37.2, SHORT=1)"
	@echo "make bench      against etcd and kine (QUICK=1: 5 minutes, ROWS=put_1x1,get_*: some rows)"
	@echo "make test-kube-upstream  Kubernetes' own tests on kedge and on etcd (ONLY=\"storage crd e2e\")"
	@echo "make sim        sync between simulated sites: SEED=n RUNS=n TOPOLOGY=star|pair|tree|mesh|random"
	@echo "make unit       the unit tests alone; SAN=address,undefined or SAN=thread"
	@echo "make test-san   every test with SAN=thread or SAN=address,undefined"
	@echo "make fuzz       the fuzz targets, SECONDS=60 each, JOBS at a time"
	@echo "make check      tests/tidy, formatter and static analyser"
	@echo "make deps       install what the build needs, or print the command that would"
	@echo "make install    PREFIX=/usr/local"

deps:
	@deploy/deps.sh

build/kedge: build/release/kedge
	@ln -f $< $@ 2>/dev/null || cp -f $< $@

$(OUT)/kedge: $(OUT)/shim/main.o $(OUT)/libkedge.a
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(OUT)/libkedge.a: $(OBJ)
	@rm -f $@
	@$(AR) rcs $@ $^

$(OUT)/%.o: %.c $(GEN_C)
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# Code made by protoc-c is not ours to warn about.  Its files include each other, so all come first.
$(OUT)/api/proto/%.pb-c.o: $(GEN)/api/proto/%.pb-c.c $(GEN_C)
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(filter-out $(WARNINGS),$(CFLAGS)) -MMD -MP -c $< -o $@

$(GEN)/%.pb-c.c: %.proto
	@mkdir -p $(GEN)
	@protoc-c --c_out=$(GEN) $<
$(GEN_C): $(PROTO)

# Rewritten only when it changed, so that a new commit rebuilds one file.
$(GEN)/build_id.h: FORCE
	@mkdir -p $(@D)
	@echo '#define KEDGE_BUILD "$(VERSION)"' | cmp -s - $@ || echo '#define KEDGE_BUILD "$(VERSION)"' > $@
$(OUT)/shim/version.o: $(GEN)/build_id.h
.PHONY: FORCE
FORCE:

$(OUT)/tests/unit/%: $(OUT)/tests/unit/%.o $(HARNESS) $(OUT)/libkedge.a
	@$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

$(OUT)/tests/bench/sync: $(OUT)/tests/bench/sync.o $(OUT)/tests/unit/sync/engine_rig.o $(OUT)/libkedge.a
	@$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

ENGINE_TESTS := $(OUT)/tests/unit/sync/test_engine $(OUT)/tests/unit/sync/test_engine_models
$(ENGINE_TESTS): $(OUT)/tests/unit/sync/engine_rig.o
$(ENGINE_TESTS): %: %.o $(OUT)/libkedge.a
	@$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(OUT)/libkedge.a $(LDLIBS) -lcmocka

SIM_BOOKS := $(OUT)/tests/sim/oracle.o $(OUT)/tests/sim/thing.o
$(OUT)/tests/unit/sim/%: $(OUT)/tests/unit/sim/%.o $(SIM_DISK) $(SIM_BOOKS) $(HARNESS) $(OUT)/libkedge.a
	@$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

LOAD_PARTS := load link wire stats slots watchers leases common
MACHINE_PARTS := machine echo wire stats common
$(OUT)/tests/bench/load: $(LOAD_PARTS:%=$(OUT)/tests/bench/%.o) $(OUT)/libkedge.a
	@$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(OUT)/tests/bench/machine: $(MACHINE_PARTS:%=$(OUT)/tests/bench/%.o) $(OUT)/libkedge.a
	@$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

FUZZ_HELP := $(patsubst %.c,$(OUT)/%.o,$(filter-out tests/fuzz/fuzz_%,$(wildcard tests/fuzz/*.c)))
$(OUT)/tests/fuzz/fuzz_%: $(OUT)/tests/fuzz/fuzz_%.o $(FUZZ_HELP) $(HARNESS) $(OUT)/libkedge.a
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

$(INTEROP): $(OUT)/tests/interop/interop_server.o $(OUT)/libkedge.a
	@$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(OUT)/mistakes/%.o: %.c $(GEN_C)
	@mkdir -p $(@D)
	@echo "  CC    $< (with mistakes)"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -DSYNC_MISTAKES -MMD -MP -c $< -o $@

# The engine's objects come before the library, which then gives none of them.
$(SIM): $(SIM_OBJ) $(SIM_ENGINE) $(OUT)/libkedge.a
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(DISK): $(OUT)/tests/disk/%: $(OUT)/tests/disk/%.o $(DISK_OBJ) $(HARNESS) $(OUT)/libkedge.a
	@$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

.SECONDARY:
-include $(shell find build -name '*.d' 2>/dev/null)

# --- running ----------------------------------------------------------------------------------
# Set-up first, then a second make that sees what was installed.

run: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@deploy/run.sh build/kedge

test: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all test-programs
	@tests/fuzz/run.sh --build
	@tests/run.sh

# Every test with a sanitized kedge: SAN=thread or SAN=address,undefined; KUBE_TOO=1 adds a control plane.
.PHONY: test-san
test-san: deps
	@$(MAKE) --no-print-directory -j$(JOBS) SAN=$(SAN) all test-programs
	@tests/san.sh "$(SAN)"

test-long: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all test-programs
	@tests/long.sh

.PHONY: test-programs
test-programs: $(UNIT) $(INTEROP) $(DISK) $(BENCH) $(SIM)

# Sites, links and disks in one process: make sim SEED=1 RUNS=1000 TOPOLOGY=star; docs/simulator.md.
.PHONY: sim
sim: deps
	@$(MAKE) --no-print-directory -j$(JOBS) $(SIM)
	@$(SIM) --seed $(or $(SEED),1) --runs $(or $(RUNS),1) $(if $(TOPOLOGY),--topology $(TOPOLOGY)) \
		$(if $(MISTAKE),--mistake $(MISTAKE)) $(if $(KEEP),--keep '$(KEEP)') $(if $(TRACE),--trace)

# One fuzz target after the other, or JOBS at a time: make fuzz SECONDS=600 JOBS=2 TARGETS="h2 codec".
.PHONY: fuzz fuzz-programs
fuzz:
	@tests/fuzz/run.sh --build
	@tests/fuzz/run.sh --seconds $(or $(SECONDS),60) --jobs $(JOBS) $(TARGETS)

fuzz-programs: $(FUZZERS)

# For tests/fuzz/planted.sh, which compiles one file in another way.
.PHONY: fuzz-compile fuzz-libraries
fuzz-compile:
	@echo $(CC) $(CPPFLAGS) $(filter-out $(WARNINGS),$(CFLAGS))
fuzz-libraries:
	@echo $(LDFLAGS) $(LDLIBS)

unit: $(UNIT)
	@tests/run-unit.sh $(OUT)

bench: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all $(BENCH)
	@tests/bench/run.py

test-kube: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@tests/kube/all.sh $(if $(SHORT),--short)

.PHONY: test-kube-upstream
test-kube-upstream: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@tests/kube/upstream/run.sh $(if $(ONLY),--only "$(ONLY)")

# --- the text keeps the rules -----------------------------------------------------------------

check: tidy lint
	@clang-format --dry-run -Werror $(ALL_C) $(ALL_H)

tidy:
	@tests/tidy/tidy.sh

lint: compile-db
	@printf '%s\n' $(SRC) shim/main.c | xargs -P 2 -n 8 clang-tidy --quiet -p .

compile-db: $(GEN_C) $(GEN)/build_id.h
	@deploy/compile-db.sh "$(CC)" "$(CPPFLAGS) $(CFLAGS)" $(ALL_C) > compile_commands.json

format:
	@clang-format -i $(ALL_C) $(ALL_H)

PREFIX ?= /usr/local
install: all
	install -D -m 0755 build/kedge $(DESTDIR)$(PREFIX)/bin/kedge

clean:
	rm -rf build compile_commands.json
