/* SPDX-License-Identifier: Apache-2.0 */
/* rule_texts.h - the rules that simulated sites have: the same keys travel
 * under all of them, and other values win. */
#ifndef TESTS_SIM_RULE_TEXTS_H
#define TESTS_SIM_RULE_TEXTS_H

#define RULES_FIRST "profile: twin\n"

#define RULES_SECOND                                                                               \
	"profile: twin\n"                                                                          \
	"rules:\n"                                                                                 \
	"  - {key: deployments, winners: {\"*\": lww}}\n"                                          \
	"  - {key: configmaps, existence: update-wins, winners: {\"*\": cloud}}\n"                 \
	"  - {key: minions, existence: delete-wins}\n"                                             \
	"  - {key: example.com/widgets, winners: {status: cloud}}\n"

#define RULES_THIRD                                                                                \
	"profile: twin\n"                                                                          \
	"rules:\n"                                                                                 \
	"  - {key: deployments, winners: {spec: cloud, metadata.labels: lww, "                     \
	"status: site}}\n"                                                                         \
	"  - {key: example.com/widgets, atomic: true, identity: cloud}\n"                          \
	"  - {key: configmaps, identity: lww, winners: {data: site}}\n"

#endif
