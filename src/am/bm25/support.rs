//! The planner's part of `column <@> 'words'`: the index is looked up by what stands on the left, and named in the query, so
//! that an index scan, a sort and a filter give the same distances.

use pgrx::pg_sys;

use super::is_bm25;
use crate::types::call::datum;

/// Simplifies a call of `<@>` with a text on its right side to one with a `bm25query`, where there is an index.
///
/// # Safety
/// PostgreSQL calls, with a request of the planner.
pub unsafe fn simplify(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    let nothing = pg_sys::Datum::from(0usize);
    // SAFETY: the argument is a node; that of this kind is the request that its type says.
    unsafe {
        let node: *mut pg_sys::Node = datum(call, 0).cast_mut_ptr();
        if node.is_null() || (*node).type_ != pg_sys::NodeTag::T_SupportRequestSimplify {
            return nothing;
        }
        let request = node.cast::<pg_sys::SupportRequestSimplify>();
        if (*request).root.is_null() {
            return nothing;
        }
        match named(&*(*request).root, &*request) {
            Some(expression) => pg_sys::Datum::from(expression),
            None => nothing,
        }
    }
}

/// The call with a query that names the index.
unsafe fn named(
    root: &pg_sys::PlannerInfo,
    request: &pg_sys::SupportRequestSimplify,
) -> Option<*mut pg_sys::Expr> {
    // SAFETY: the request holds the call, of two arguments, of a query that is being planned.
    unsafe {
        let function = &*request.fcall;
        let left: *mut pg_sys::Node = pg_sys::list_nth(function.args, 0).cast();
        let right: *mut pg_sys::Expr = pg_sys::list_nth(function.args, 1).cast();
        // A column on the nullable side of an outer join counts the join among its tables from PostgreSQL 16 on.
        let varno = match as_column(left) {
            Some(column) => column.varno,
            None => only_table(request.root, left)?,
        };
        let index = index_for((*root.parse).rtable, left, varno)?;
        let names = Names::of(function.funcid)?;
        // to_bm25query(right, index)
        let index = pg_sys::makeConst(
            pg_sys::REGCLASSOID,
            -1,
            pg_sys::InvalidOid,
            size_of::<pg_sys::Oid>() as i32,
            pg_sys::Datum::from(index),
            false,
            true,
        );
        let args =
            pg_sys::lappend(pg_sys::lappend(std::ptr::null_mut(), right.cast()), index.cast());
        let query = pg_sys::makeFuncExpr(
            names.to_query,
            names.query_type,
            args,
            pg_sys::InvalidOid,
            function.inputcollid,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
        );
        let query = pg_sys::eval_const_expressions(request.root, query.cast());
        let operator = names.operator(pg_sys::exprType(left))?;
        let expression = pg_sys::make_opclause(
            operator,
            pg_sys::FLOAT8OID,
            false,
            left.cast(),
            query.cast(),
            pg_sys::InvalidOid,
            function.inputcollid,
        );
        pg_sys::set_opfuncid(expression.cast());
        Some(expression)
    }
}

/// The only table of the query that an expression is about.
unsafe fn only_table(root: *mut pg_sys::PlannerInfo, node: *mut pg_sys::Node) -> Option<i32> {
    let mut varno = 0;
    // SAFETY: the caller passes an expression of the query.
    unsafe {
        let tables = pg_sys::pull_varnos(root, node);
        pg_sys::bms_get_singleton_member(tables, &raw mut varno).then_some(varno)
    }
}

/// The index for an expression over what is number `varno` of a query. A column of a subquery is followed to its table.
unsafe fn index_for(
    tables: *mut pg_sys::List,
    expression: *mut pg_sys::Node,
    varno: i32,
) -> Option<pg_sys::Oid> {
    // SAFETY: the planner's query, whose numbers are of its tables.
    unsafe {
        // Statistics on expressions are simplified as well, with numbers that are not of this query.
        let table = nth(tables, varno)?.cast::<pg_sys::RangeTblEntry>().as_ref()?;
        match table.rtekind {
            pg_sys::RTEKind::RTE_RELATION => index_on(table.relid, expression, varno),
            pg_sys::RTEKind::RTE_SUBQUERY => {
                let column = as_column(expression)?;
                let query = table.subquery.as_ref()?;
                // What comes from several queries has no one index.
                if !query.setOperations.is_null() {
                    return None;
                }
                let target = nth(query.targetList, column.varattno.into())?;
                let its = as_column((*target.cast::<pg_sys::TargetEntry>()).expr.cast())?;
                let expression = std::ptr::from_ref(its).cast_mut().cast();
                index_for(query.rtable, expression, its.varno)
            }
            _ => None,
        }
    }
}

/// An element of a list, counted from 1, if there is one.
unsafe fn nth(list: *mut pg_sys::List, number: i32) -> Option<*mut std::ffi::c_void> {
    // SAFETY: the caller passes a list of pointers, or none.
    unsafe {
        let is_there = !list.is_null() && (1..=(*list).length).contains(&number);
        is_there.then(|| pg_sys::list_nth(list, number - 1))
    }
}

/// A column of the query itself, whatever it is relabelled as.
unsafe fn as_column<'n>(expression: *mut pg_sys::Node) -> Option<&'n pg_sys::Var> {
    // SAFETY: the caller passes an expression.
    unsafe {
        let expression = unlabelled(expression);
        let is_column = (*expression).type_ == pg_sys::NodeTag::T_Var;
        is_column
            .then(|| &*expression.cast::<pg_sys::Var>())
            .filter(|var| var.varlevelsup == 0 && var.varattno > 0)
    }
}

/// An expression without the relabelling of binary-coercible types.
unsafe fn unlabelled(expression: *mut pg_sys::Node) -> *mut pg_sys::Node {
    let mut expression = expression;
    // SAFETY: the caller passes an expression.
    unsafe {
        while (*expression).type_ == pg_sys::NodeTag::T_RelabelType {
            expression = (*expression.cast::<pg_sys::RelabelType>()).arg.cast();
        }
    }
    expression
}

/// The `bm25` index of a table on an expression; of several the first made, those of all rows before partial ones.
unsafe fn index_on(
    table: pg_sys::Oid,
    expression: *mut pg_sys::Node,
    varno: i32,
) -> Option<pg_sys::Oid> {
    let no_lock = pg_sys::NoLock as pg_sys::LOCKMODE;
    // SAFETY: the planner has locked the table; expressions are compared as copies.
    unsafe {
        let relation = pg_sys::table_open(table, no_lock);
        // In the order of their OIDs.
        let indexes = pg_sys::RelationGetIndexList(relation);
        let count = if indexes.is_null() { 0 } else { (*indexes).length };
        let share = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let (mut found, mut partial) = (None, None);
        for at in 0..count {
            let oid = pg_sys::list_nth_oid(indexes, at);
            let index = pg_sys::index_open(oid, share);
            let is_ours = is_of_bm25(index) && (*(*index).rd_index).indisvalid;
            if is_ours && is_on(index, expression, varno) {
                let is_partial = !pg_sys::RelationGetIndexPredicate(index).is_null();
                found = found.or((!is_partial).then_some(oid));
                partial = partial.or(Some(oid));
            }
            pg_sys::index_close(index, no_lock);
            if found.is_some() {
                break;
            }
        }
        pg_sys::list_free(indexes);
        pg_sys::table_close(relation, no_lock);
        found.or(partial)
    }
}

/// Whether an index, which may be that of a partitioned table, is of this access method.
unsafe fn is_of_bm25(index: pg_sys::Relation) -> bool {
    // SAFETY: the caller has it open; a partitioned index has the functions of its access method as well.
    unsafe {
        is_bm25(index)
            || (*(*index).rd_rel).relkind as u8 == pg_sys::RELKIND_PARTITIONED_INDEX
                && (*(*index).rd_rel).relam == pg_sys::get_index_am_oid(c"bm25".as_ptr(), true)
    }
}

/// Whether an index is on an expression.
unsafe fn is_on(index: pg_sys::Relation, expression: *mut pg_sys::Node, varno: i32) -> bool {
    // SAFETY: the caller has the index open, of one column.
    unsafe {
        let expression = unlabelled(expression);
        let column = *(*(*index).rd_index).indkey.values.as_ptr();
        if column != 0 {
            return as_column(expression).is_some_and(|var| var.varattno == column);
        }
        let expressions = pg_sys::RelationGetIndexExpressions(index);
        if expressions.is_null() {
            return false;
        }
        let its = unlabelled(pg_sys::list_nth(expressions, 0).cast());
        let its = pg_sys::copyObjectImpl(its.cast()).cast::<pg_sys::Node>();
        pg_sys::ChangeVarNodes(its, 1, varno, 0);
        pg_sys::equal(its.cast(), expression.cast())
    }
}

/// Where the objects are that go with a function of the operator: in its schema.
struct Names {
    schema: *mut std::ffi::c_char,
    query_type: pg_sys::Oid,
    to_query: pg_sys::Oid,
}

impl Names {
    unsafe fn of(function: pg_sys::Oid) -> Option<Names> {
        // SAFETY: look-ups by names that are ours.
        unsafe {
            let namespace = pg_sys::get_func_namespace(function);
            let schema = pg_sys::get_namespace_name(namespace);
            if schema.is_null() {
                return None;
            }
            let query_type = pg_sys::GetSysCacheOid(
                pg_sys::SysCacheIdentifier::TYPENAMENSP as i32,
                pg_sys::Anum_pg_type_oid as pg_sys::AttrNumber,
                pg_sys::Datum::from(c"bm25query".as_ptr()),
                pg_sys::Datum::from(namespace),
                pg_sys::Datum::from(0usize),
                pg_sys::Datum::from(0usize),
            );
            let types = [pg_sys::TEXTOID, pg_sys::REGCLASSOID];
            let name = qualified(schema, c"to_bm25query");
            let to_query = pg_sys::LookupFuncName(name, 2, types.as_ptr(), true);
            let found = query_type != pg_sys::InvalidOid && to_query != pg_sys::InvalidOid;
            found.then_some(Names { schema, query_type, to_query })
        }
    }

    /// The operator between a type and a query.
    unsafe fn operator(&self, left: pg_sys::Oid) -> Option<pg_sys::Oid> {
        // SAFETY: as above.
        unsafe {
            let name = qualified(self.schema, c"<@>");
            let operator = pg_sys::OpernameGetOprid(name, left, self.query_type);
            (operator != pg_sys::InvalidOid).then_some(operator)
        }
    }
}

/// A name in a schema, as the server's look-ups take it.
unsafe fn qualified(schema: *mut std::ffi::c_char, name: &std::ffi::CStr) -> *mut pg_sys::List {
    // SAFETY: both are strings that outlive the list, or are copied.
    unsafe {
        let name = pg_sys::makeString(pg_sys::pstrdup(name.as_ptr()));
        let schema = pg_sys::makeString(schema);
        pg_sys::lappend(pg_sys::lappend(std::ptr::null_mut(), schema.cast()), name.cast())
    }
}
