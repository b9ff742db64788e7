/* SPDX-License-Identifier: Apache-2.0 */
/* meta_form.h - what writing and reading of meta share.  Internal to sync/merge. */
#ifndef SYNC_MERGE_META_FORM_H
#define SYNC_MERGE_META_FORM_H

#include "sync/limits.h"
#include "sync/merge/meta.h"

#define STAMP_BYTES 8

enum birth_form {
	BIRTH_OTHER,	/* its uid follows */
	BIRTH_SAME_UID, /* as the value, but all its cells stand for themselves */
	BIRTH_MAIN,	/* its cells are the value's columns but for what follows */
	BIRTH_FORMS,
};

static inline enum err shown_split(const struct shown *shown, struct arena *arena,
				   struct object *ret_object)
{
	if (!shown->object)
		return object_split(shown->value, arena, ret_object);
	*ret_object = *shown->object;
	return ERR_OK;
}

#endif
