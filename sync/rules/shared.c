/* SPDX-License-Identifier: Apache-2.0 */
/* shared.c - the table of the profile shared: one key space across cloud and sites, in which each
 * object has a home.
 *
 * The cloud says what is wanted, the home what is there.  Controllers run on both sides, so what
 * they derive stays at home and is shown to the cloud, and what each site has for itself (leaders,
 * allocators, authorities) does not travel at all. */
#include "sync/rules/internal.h"

#define APISERVER .why = "addresses of this site's apiservers"
#define OWN_ADDRESSES .why = "address blocks of this site, repaired by its apiserver"
#define OWN_SELF .why = "the site's own apiserver"
#define PRIORITY .why = "each apiserver makes and mends its own"
#define STORE .why = "describe this store"
#define SETUP .why = "how one cluster was set up: its endpoints and authorities"
#define NODES .why = "certificates and nodes of one cluster"
#define SIGNED .why = "approved and signed locally; up where the signer is in the cloud"
#define WEBHOOK                                                                                    \
	.identity = WINNER_CLOUD, .winners = "*=cloud", .atomic = true,                            \
	.why = "a webhook that fails closed and cannot be reached stops a site that is cut off; "  \
	       "down where yours can be reached"
#define POLICY                                                                                     \
	.identity = WINNER_CLOUD, .winners = "*=cloud", .atomic = true,                            \
	.why = "a policy that refuses what a site needs stops it while it is cut off; down where " \
	       "yours do not"
#define PRIVILEGES                                                                                 \
	.flow = FLOW_DOWN, .identity = WINNER_CLOUD, .winners = "*=cloud", .atomic = true,         \
	.why = "privileges are never joined"
#define CONFIGURATION                                                                              \
	.flow = FLOW_DOWN, .identity = WINNER_CLOUD, .winners = "*=cloud", .atomic = true,         \
	.why = "configuration"
#define INTENT                                                                                     \
	.flow = FLOW_BOTH, .identity = WINNER_CLOUD, .winners = "spec=cloud status=home *=cloud",  \
	.why = "intent and observation"
#define WORKLOAD                                                                                   \
	.flow = FLOW_BOTH, .identity = WINNER_CLOUD,                                               \
	.winners = "spec=owner spec.replicas=home status=home "                                    \
		   "metadata.annotations[deployment.kubernetes.io/revision]=home *=owner",         \
	.why = "intent and observation; the home decides all where the namespace has one, and "    \
	       "always how many run, for there the autoscaler is"
#define DERIVED                                                                                    \
	.flow = FLOW_UP, .identity = WINNER_HOME, .winners = "*=home", .atomic = true,             \
	.why = "derived by the home's controllers; the cloud looks on"
#define ADDRESSES                                                                                  \
	.flow = FLOW_UP, .identity = WINNER_HOME, .winners = "*=home", .atomic = true,             \
	.why = "addresses of one site"
#define DRIVER                                                                                     \
	.flow = FLOW_UP, .identity = WINNER_HOME, .winners = "*=home",                             \
	.why = "registered by a driver of the site"
#define HANDSHAKE                                                                                  \
	.flow = FLOW_BOTH, .identity = WINNER_HOME, .winners = "*=home", .atomic = true,           \
	.why = "binding is a handshake of two objects: never mix fields of two writes"

const struct built_in_row rules_shared_rows[] = {

	/* What nobody knows, and custom resources. */
	{.pattern = "*",
	 .flow = FLOW_BOTH,
	 .identity = WINNER_CLOUD,
	 .atomic = true,
	 .why = "unknown: nobody can say which side is right, and columns may belong together"},
	{.pattern = "*.*",
	 .flow = FLOW_BOTH,
	 .identity = WINNER_CLOUD,
	 .winners = "spec=cloud status=home *=cloud",
	 .why = "custom resources: by convention the spec is intent and the status is observed"},

	/* What each site has for itself. */
	{.pattern = "masterleases", APISERVER},
	{.pattern = "peerserverleases", APISERVER},
	{.pattern = "leases",
	 .why = "leader election: two sites must each have a leader; a lease from elsewhere would "
		"stop one"},
	{.pattern = "leases/kube-node-lease",
	 .flow = FLOW_UP,
	 .home = HOME_NODE,
	 .identity = WINNER_HOME,
	 .winners = "*=home",
	 .coalesce_s = 10,
	 .why = "heartbeats: without them the cloud marks the nodes NotReady"},
	{.pattern = "leasecandidates", .why = "leader election: two sites must each have a leader"},
	{.pattern = "ranges",
	 .why = "bitmaps of addresses and ports that the local apiserver hands out and repairs; "
		"merged they give one address twice"},
	{.pattern = "ipaddresses", OWN_ADDRESSES},
	{.pattern = "servicecidrs", OWN_ADDRESSES},
	{.pattern = "services/specs/default/kubernetes", OWN_SELF},
	{.pattern = "services/endpoints/default/kubernetes", OWN_SELF},
	{.pattern = "endpointslices/default/kubernetes", OWN_SELF},
	{.pattern = "apiregistration.k8s.io/apiservices",
	 .why = "registered by each apiserver; their availability is local"},
	{.pattern = "flowschemas", PRIORITY},
	{.pattern = "prioritylevelconfigurations", PRIORITY},
	{.pattern = "storageversions", STORE},
	{.pattern = "storageversionmigrations", STORE},
	{.pattern = "configmaps/kube-system/extension-apiserver-authentication",
	 .why = "certificate authorities of this site's apiserver"},
	{.pattern = "configmaps/kube-system/kube-apiserver-legacy-service-account-token-tracking",
	 .why = "each apiserver notes when it began"},
	{.pattern = "configmaps/*/kube-root-ca.crt",
	 .why = "the certificate authority of one cluster"},
	{.pattern = "configmaps/kube-public/cluster-info",
	 .why = "address and authority of one cluster"},
	{.pattern = "configmaps/kube-system/kubeadm-config", SETUP},
	{.pattern = "configmaps/kube-system/kubelet-config*", SETUP},
	{.pattern = "configmaps/kube-system/kube-proxy", SETUP},
	{.pattern = "configmaps/kube-system/k3s-*", SETUP},
	{.pattern = "secrets/kube-system/bootstrap-token-*", .why = "admits nodes to one cluster"},
	{.pattern = "secrets/kube-system/k3s-*", NODES},
	{.pattern = "secrets/kube-system/*.node-password.k3s", NODES},
	{.pattern = "certificatesigningrequests", SIGNED},
	{.pattern = "podcertificaterequests", SIGNED},
	{.pattern = "clustertrustbundles", .why = "published by the signers of one cluster"},
	{.pattern = "validatingwebhookconfigurations", WEBHOOK},
	{.pattern = "mutatingwebhookconfigurations", WEBHOOK},
	{.pattern = "validatingadmissionpolicies", POLICY},
	{.pattern = "validatingadmissionpolicybindings", POLICY},
	{.pattern = "mutatingadmissionpolicies", POLICY},
	{.pattern = "mutatingadmissionpolicybindings", POLICY},

	/* What the cloud says. */
	{.pattern = "namespaces",
	 .flow = FLOW_BOTH,
	 .identity = WINNER_CLOUD,
	 .winners = "status=home *=cloud",
	 .guarded = true,
	 .why = "lifetime of everything inside; a Terminating phase stays, finalizers are kept one "
		"by one"},
	{.pattern = "configmaps",
	 .flow = FLOW_DOWN,
	 .identity = WINNER_CLOUD,
	 .winners = "*=cloud",
	 .why = "entries are independent; both where a namespace is written at the site"},
	{.pattern = "secrets",
	 .flow = FLOW_DOWN,
	 .identity = WINNER_CLOUD,
	 .winners = "*=cloud",
	 .except_types = "kubernetes.io/service-account-token bootstrap.kubernetes.io/token",
	 .why = "entries are independent; tokens of service accounts and of nodes are signed for "
		"one cluster"},
	{.pattern = "serviceaccounts",
	 .flow = FLOW_DOWN,
	 .identity = WINNER_CLOUD,
	 .winners = "*=cloud",
	 .why = "tokens are bound to the uid"},
	{.pattern = "roles", PRIVILEGES},
	{.pattern = "clusterroles", PRIVILEGES},
	{.pattern = "rolebindings", PRIVILEGES},
	{.pattern = "clusterrolebindings", PRIVILEGES},
	{.pattern = "apiextensions.k8s.io/customresourcedefinitions",
	 .flow = FLOW_DOWN,
	 .identity = WINNER_CLOUD,
	 .winners = "spec=cloud status=site *=cloud",
	 .guarded = true,
	 .why = "a definition takes all custom resources along when it goes; conditions are the "
		"site's, stored versions are joined"},
	{.pattern = "storageclasses", CONFIGURATION},
	{.pattern = "csidrivers", CONFIGURATION},
	{.pattern = "ingressclasses", CONFIGURATION},
	{.pattern = "priorityclasses", CONFIGURATION},
	{.pattern = "runtimeclasses", CONFIGURATION},
	{.pattern = "deviceclasses", CONFIGURATION},
	{.pattern = "volumeattributesclasses", CONFIGURATION},
	{.pattern = "limitranges", CONFIGURATION},
	{.pattern = "networkpolicies", CONFIGURATION},
	{.pattern = "resourceclaimtemplates", CONFIGURATION},
	{.pattern = "resourcequotas",
	 .flow = FLOW_DOWN,
	 .identity = WINNER_CLOUD,
	 .winners = "spec=cloud status=site *=cloud",
	 .why = "usage is counted by each apiserver for itself: each site shows its own"},

	/* Intent from the cloud, observed at the home. */
	{.pattern = "ingress", INTENT},
	{.pattern = "poddisruptionbudgets", INTENT},
	{.pattern = "horizontalpodautoscalers", INTENT},
	{.pattern = "deployments", WORKLOAD},
	{.pattern = "statefulsets", WORKLOAD},
	{.pattern = "daemonsets", WORKLOAD},
	{.pattern = "jobs", WORKLOAD},
	{.pattern = "cronjobs", WORKLOAD},
	{.pattern = "services/specs",
	 .flow = FLOW_BOTH,
	 .identity = WINNER_CLOUD,
	 .winners = "spec=cloud status=home *=cloud",
	 .why = "allocated addresses and ports belong to the side that created it, and do not "
		"change"},

	/* What the home knows. */
	{.pattern = "replicasets", DERIVED},
	{.pattern = "controllers", DERIVED},
	{.pattern = "controllerrevisions", DERIVED},
	{.pattern = "pods",
	 .flow = FLOW_BOTH,
	 .home = HOME_POD,
	 .identity = WINNER_HOME,
	 .winners = "metadata.labels=lww metadata.annotations=lww *=home",
	 .why = "the kubelet is the truth; the home's binding wins. A delete from the cloud goes "
		"down, evictions while the site was cut off are filtered"},
	{.pattern = "services/endpoints", ADDRESSES},
	{.pattern = "endpointslices", ADDRESSES},
	{.pattern = "minions",
	 .flow = FLOW_BOTH,
	 .existence = EXISTENCE_UPDATE_WINS,
	 .home = HOME_NODE,
	 .identity = WINNER_HOME,
	 .winners = "spec.taints=cloud spec.unschedulable=cloud *=home",
	 .why = "the kubelet registers and reports: a node that still reports stays; the cloud may "
		"cordon and taint"},
	{.pattern = "csinodes",
	 .flow = FLOW_UP,
	 .home = HOME_NODE,
	 .identity = WINNER_HOME,
	 .winners = "*=home",
	 .why = "registered by the kubelet"},
	{.pattern = "csistoragecapacities", DRIVER},
	{.pattern = "resourceslices", DRIVER},
	{.pattern = "persistentvolumes", HANDSHAKE},
	{.pattern = "persistentvolumeclaims", HANDSHAKE},
	{.pattern = "volumeattachments", HANDSHAKE},
	{.pattern = "resourceclaims", HANDSHAKE},
	{.pattern = "events",
	 .flow = FLOW_UP,
	 .group = GROUP_EVENTS,
	 .identity = WINNER_SITE,
	 .winners = "*=site",
	 .why = "many, short-lived, each written by one: they travel apart and may be dropped"},
};

const size_t rules_shared_count = sizeof(rules_shared_rows) / sizeof(*rules_shared_rows);
