/* SPDX-License-Identifier: Apache-2.0 */
/* version.h - what kedge is and which etcd it answers like.
 *
 * ETCD_API_VERSION is what /version and Status tell clients: kube-apiserver and kubeadm parse it,
 * so it stays plain semver and names the etcd release that kedge is compared with in its tests. */
#ifndef SHIM_BASE_VERSION_H
#define SHIM_BASE_VERSION_H

#define KEDGE_VERSION "0.1.0"
#define ETCD_API_VERSION "3.7.3"
#define ETCD_CLUSTER_VERSION "3.7.0"
#define ETCD_STORAGE_VERSION "3.7.0"

#endif
