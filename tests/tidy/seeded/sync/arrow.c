/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/rpc/rpc.h"
